"""Whether the holder of a lock still moves.

A process that was stopped (SIGSTOP, a debugger, `docker pause`) keeps its locks, and no lock can be taken from it. So a
holder touches the files of its locks every two seconds, from a thread of its own: a slow database does not stop that.
Another process that has seen such a file untouched at fifteen looks, a second apart, removes it, and locks another
file of that name. The holder, should it move again, sees that the name is no longer its file's.

Looks are counted and not seconds: two that were stopped together, with their host, do not depose each other.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tallystick.agent import report
from tallystick.spool import disk
from tallystick.spool.background import Background
from tallystick.spool.folder import Folder
from tallystick.threads import Empty, SimpleQueue
from tallystick.waiting import steady

logger = logging.getLogger("tallystick.agent")

PULSE_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.9
"""A little less than what an agent that is not elected waits."""
LOOKS: Final = 15


class Pulse:
    """Touches the files of those locks that are held, until it is stopped or none is."""

    def __init__(self, locks: Sequence[disk.LockFile]) -> None:
        self._locks = locks
        self._stop: SimpleQueue[None] | None = None
        self._worker: Background | None = None

    def start(self) -> None:
        """Idempotent."""
        self._touch()
        if self._worker is None or self._worker.ended:
            stop = self._stop = SimpleQueue()
            self._worker = Background(lambda: self._beat(stop), "tallystick-pulse")
            self._worker.start()

    def _beat(self, stop: SimpleQueue[None]) -> None:
        while self._touch():
            with contextlib.suppress(Empty):
                stop.get(timeout=PULSE_SECONDS)
                return

    def _touch(self) -> bool:
        """Whether any lock is held."""
        held = [lock for lock in self._locks if lock.touch()]
        return bool(held)

    def stop(self) -> None:
        if self._stop is not None:
            self._stop.put(None)
        self._stop = self._worker = None


class Watch:
    """One contender's eye on a lock file."""

    def __init__(self, folder: Folder, path: Path) -> None:
        self._folder = folder
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._looks = 0
        self._looked = float("-inf")

    def look(self) -> None:
        """Called while another holds the pipeline. Deposes a holder that has not moved at the last `LOOKS` looks."""
        now = steady()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        seen = self._stamp()
        self._looks = self._looks + 1 if seen == self._seen else 0
        self._seen = seen
        if seen is not None and self._looks >= LOOKS:
            self._looks = 0
            self._depose(seen)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _depose(self, seen: tuple[int, int]) -> None:
        """Under a lock, so that of two contenders the second does not remove what the first has just made."""
        guard = disk.LockFile(self._folder.takeover_lock)
        try:
            if guard.acquire() and self._stamp() == seen and disk.is_locked(self._path):
                disk.remove(self._path)
                beat = report.read(self._folder)
                who = f"pid {beat.pid} on {beat.host}" if beat is not None else "an unknown process"
                logger.warning("%s: its holder (%s) does not move; another agent delivers instead", self._path, who)
        finally:
            guard.release()
