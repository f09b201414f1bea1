"""A daemon thread that does one piece of work.

`start` does not wait until the thread runs: another thread waits for that.

An interpreter that shuts down starts no more threads (from Python 3.12 on), but waits in our `atexit` hook for those
that there are. A script that ends with its first record is so far before the second thread is there: then the first
does the work.

It is a thread of the operating system also where gevent or eventlet made `threading.Thread` a greenlet.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from tallystick.threads import Lock, patched, start_real


class _Thread(threading.Thread):
    def _delete(self) -> None:
        """It is known under another number when greenlets came after it had started: no reason for a traceback."""
        with contextlib.suppress(KeyError):
            super()._delete()  # type: ignore[misc]


class Background:
    """Does `work` once, in a daemon thread of this name."""

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self._work = work
        self._name = name
        self._working = Lock()
        self.ended = self.refused = False

    def start(self) -> None:
        """Returns at once. Where not one thread can be had, as in an `atexit` hook, it has ended and was `refused`."""
        self._working.acquire()
        try:
            start_real(self._run if patched() else self._start, ())
        except RuntimeError:
            self.refused = True
            self._end()

    def _start(self) -> None:
        try:
            _Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:
            self._run()

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
