"""What the agent is delivering from segments that are still being written, for who wants to drop old ones.

A lock, held for a moment at a time, and a note beside it that is read and written under the lock:

    {"delivering":"0198…","settled":{"0198…":81920}}

Invariants
- `delivering` names the segment whose records are on their way right now; nobody drops that one. While a backend does
  not answer this may last for days, so no lock is held meanwhile.
- `settled` says how far delivery has come where that is further than the positions tell. An agent that dies leaves the
  note behind, and it stays true: what was settled is settled, whether counted or not.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from tallystick.codec import UNREADABLE, with_checksum, without_checksum
from tallystick.spool import disk
from tallystick.spool.folder import Folder

WAIT_SECONDS: Final = 0.5
"""Longer than anybody holds the lock who is not stopped or dying."""
_LOOK_SECONDS: Final = 0.0005


class Note(msgspec.Struct):
    delivering: str = ""
    settled: dict[str, int] = {}


class Underway:
    """The agent's end of it: `note` is what it last wrote down."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = disk.LockFile(folder.delivering_lock)
        self.note = Note()

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Whether the lock is ours meanwhile. False when somebody who holds it does not move."""
        deadline = time.monotonic() + WAIT_SECONDS
        try:  # a time limit of the application's may end a call in the midst of this
            while not (ours := self._lock.acquire()) and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)
            yield ours
        finally:
            self._lock.release()

    def read(self) -> Note:
        """The note of whoever delivers. Under the lock."""
        try:
            return msgspec.json.decode(without_checksum(self._folder.delivering.read_bytes()), type=Note)
        except (OSError, *UNREADABLE):
            return Note()

    def write(self) -> None:
        """Write `note` down. Under the lock. Raises `OSError` when the disk takes nothing."""
        data = with_checksum(msgspec.json.encode(self.note))
        self._folder.with_reserve(lambda: self._write(data))

    def _write(self, data: bytes) -> None:
        fd = os.open(self._folder.delivering, os.O_WRONLY | os.O_CREAT, disk.FILE_MODE)
        try:
            disk.write_all(fd, data)
            os.ftruncate(fd, len(data))
        finally:
            os.close(fd)

    def settled(self, segment: str, position: int) -> None:
        """Nothing is on its way any more, and so far the segment is settled."""
        self.note = Note("", {**self.note.settled, segment: position})
        with self.held() as ours:
            if ours:  # else the note says that the segment is on its way: at worst it stays longer
                self.write()

    def saved(self) -> None:
        """The positions now tell what the note told."""
        if self.note.settled:
            self.note = Note(self.note.delivering)
            with self.held() as ours:
                if ours:
                    self.write()

    def close(self) -> None:
        """Nothing is on its way. What is settled and not saved stays noted."""
        if self.note.delivering:
            self.note.delivering = ""
            with self.held() as ours, contextlib.suppress(OSError):
                if ours:
                    self.write()
        self._lock.release()
