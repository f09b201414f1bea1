"""A daemon thread that nobody waits for in a way that a forked child could not end.

`threading.Thread.start` waits until the new thread runs. A signal handler may fork meanwhile, and its child, which
returns into that wait, has no such thread: it would wait for ever (Python resets the event, and nobody sets it). So
`Worker.start` leaves the wait to a thread of its own, where no signal handler runs.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable


class Worker:
    """Does `work` once, in a daemon thread of this name."""

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self._work = work
        self._name = name
        self._working = threading.Lock()
        self.ended = False

    def start(self) -> None:
        """Returns at once. Where no thread can be had any more, as when the interpreter shuts down, it has ended."""
        self._working.acquire()
        try:
            _thread.start_new_thread(self._start, ())
        except RuntimeError:
            self._end()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:
            self._end()

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._end()

    def _end(self) -> None:
        self.ended = True
        self._working.release()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for it so long; whether it has ended."""
        if not self.ended and self._working.acquire(timeout=timeout_seconds):
            self._working.release()
        return self.ended
