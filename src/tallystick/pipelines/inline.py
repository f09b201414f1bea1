"""Recording into a backend that is local (`log`, `memory`): at once, without a spool.

It stands where the spool stands, with the same `write` and `append`, so that the recorder need not know.

A backend's `sys.exit` ends no recording call. A `KeyboardInterrupt`, and the `SystemExit` of a signal handler that came
while the backend wrote, are the application's own and go through.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tallystick import forks
from tallystick.codec import FORMAT, Reader
from tallystick.errors import said_by
from tallystick.interruptions import from_outside, handlers
from tallystick.masking import hider
from tallystick.records import Header, Tags
from tallystick.spool.folder import new_segment_id
from tallystick.spool.segment import Lines

if TYPE_CHECKING:
    from tallystick.backends.base import Backend

logger = logging.getLogger("tallystick.recorder")


class Counts:
    """What was refused or dropped, by (what, reason, name): the tally of a process without a spool."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()

    def add(self, what: str, reason: str, name: str) -> None:
        self.counts[what, reason, name] += 1


class Inline:
    """Writes each line's record to the backend, one at a time. Never raises: a record the backend refuses is
    counted. `hide` masks secrets in what the backend says.
    """

    def __init__(
        self, backend: Backend, app: str, host: str, tags: Tags, hide: Callable[[str], str] | None = None
    ) -> None:
        self.backend = backend
        self._hide = hide or hider()
        self._about = (app, host, dict(tags))
        self._open = False
        self._instead: Lines | None = None
        self._start()
        forks.inherited(self)

    def _start(self) -> None:
        """The state of one that has written nothing in this process."""
        app, host, tags = self._about
        self.tally = Counts()
        self._reader = Reader(Header(FORMAT, new_segment_id(), host, os.getpid(), app, time.time_ns(), tags))
        self._offset = 0
        self._lock = threading.RLock()  # a signal handler may record while this thread does

    def divert(self, instead: Lines | None) -> None:
        """As `Spool.divert`."""
        self._instead = instead

    def write(self, line: bytes) -> None:
        self.append(line, "")

    def append(self, line: bytes, name: str) -> bool:
        if self._instead is not None:
            return self._instead.append(line, name)
        forks.look()
        with self._lock:
            batch, _ = self._reader.batch(line, self._offset)
            self._offset += len(line)
            name = batch.records[0].name
            try:
                if not self._open:
                    self.backend.open()
                    self._open = True
                reasons = self._reasons(self.backend.write(batch))
            except (Exception, SystemExit) as error:
                # Of an exit that cannot be told, the application is to end.
                if from_outside(error) or (isinstance(error, SystemExit) and None in handlers()):
                    raise
                reasons = [said_by(error)]
            for reason in reasons:
                self._lost(name, reason)
                return False
        return True

    def _reasons(self, answer: object) -> list[object]:
        """Why the only record of the batch was not taken; empty when it was."""
        rejected, kept = getattr(answer, "rejected", None), getattr(answer, "kept", None)
        if not (isinstance(rejected, Mapping) and isinstance(kept, Mapping)):
            what = "None" if answer is None else f"something of type {type(answer).__name__}"
            name = f"{type(self.backend).__module__}.{type(self.backend).__qualname__}"
            raise TypeError(f"{name}.write returned {what}; correct it to return a WriteResult")
        return [*rejected.values(), *kept.values()]

    def _lost(self, name: str, reason: object) -> None:
        self.tally.add("dropped", "backend", name)
        logger.warning("%s did not take a record of %s: %s", self.backend.address, name, self._hide(str(reason)))

    def close(self) -> None:
        with self._lock:
            if self._open:
                self.backend.close()
                self._open = False

    def forget_parent(self) -> None:
        """In a forked child: other ids, and a lock that no thread of the parent holds."""
        self._start()
