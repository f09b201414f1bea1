"""Making room by dropping the oldest records (`when_full = "drop_old"`), and what must not be dropped.

The agent delivers from segments that are still being written, too. A lock, held for a moment at a time, and a note
beside it that is read and written under the lock say what is on its way:

    {"delivering":"0198…","settled":{"0198…":81920}}

Invariants
- A segment is dropped only by who holds both its own lock (so that nobody writes it, and no agent owns it) and the lock
  of the note, and only when the note does not say that its records are on their way to a backend.
- `delivering` names the segment whose records are on their way right now. While a backend does not answer this may last
  for days, so no lock is held in the meantime.
- `settled` says how far delivery has come where that is further than the positions tell. An agent that dies leaves the
  note behind, and it stays true: what was settled is settled, whether counted or not.
- What is dropped is written to `<id>.dropped`, by name, before the segment goes; the agent adds it to the counts. While
  both files exist, the segment counts as dropped already.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from tallystick.codec import UNREADABLE, Int64, decode_lines, with_checksum, without_checksum
from tallystick.errors import SpoolTooNew
from tallystick.spool import disk
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.reader import SegmentReader

LINES: Final = 1_000
"""So many are decoded at once, between reads that let other threads run: an application's calls wait meanwhile."""
WAIT_SECONDS: Final = 0.5
"""Longer than a process holds the lock that is not stopped or dying."""
_LOOK_SECONDS: Final = 0.0005


class _Named(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What must be right in a line; its tags and what follows them are anybody's JSON, as in `codec.Line`."""

    timestamp_ns: Int64
    kind: str
    name: str
    value: Any


_named: Final = msgspec.json.Decoder(_Named)


class Dropped(msgspec.Struct, frozen=True):
    """How many lines of which names a dropped segment held; `""` counts damaged lines.

    `names` are those that were dropped, from `settled` on. `delivered` are those before, from the saved position on:
    they were delivered and perhaps not counted.
    """

    settled: int
    names: dict[str, int]
    delivered: dict[str, int] = {}

    def uncounted(self, at: int) -> Mapping[str, int]:
        """What was delivered, for who has counted up to the position `at`."""
        return self.delivered if at < self.settled else {}


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
    def held(self, wait_seconds: float | None = None) -> Iterator[bool]:
        """Whether the lock is ours for now. False when a process that holds it does not move."""
        try:  # a time limit of the application's may end a call in the midst of this
            turns = int((WAIT_SECONDS if wait_seconds is None else wait_seconds) / _LOOK_SECONDS)
            while not (ours := self._lock.acquire()) and turns > 0:
                turns -= 1
                time.sleep(_LOOK_SECONDS)
            yield ours
        finally:
            self._lock.release()

    def read(self) -> Note:
        """The note of whoever delivers. Under the lock."""
        try:
            return msgspec.json.decode(without_checksum(disk.read_own(self._folder.delivering)), type=Note)
        except (OSError, *UNREADABLE):
            return Note()

    def write(self) -> None:
        """Write `note` down. Under the lock. Raises `OSError` when the disk takes nothing."""
        data = with_checksum(msgspec.json.encode(self.note))
        self._folder.with_reserve(lambda: self._write(data))

    def _write(self, data: bytes) -> None:
        fd = disk.open_own(self._folder.delivering, os.O_WRONLY | os.O_CREAT)
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


def make_room(folder: Folder, needed_bytes: int, limit_bytes: int, wait_seconds: float | None = None) -> int:
    """Drop oldest segments until `needed_bytes` fit under the limit; how many went. Zero when all are in use, or when
    the lock of those that deliver is not free within `wait_seconds`.
    """
    gone = 0
    underway = Underway(folder)
    with underway.held(wait_seconds) as ours:
        if not ours or folder.size_bytes() + needed_bytes <= limit_bytes:
            return 0
        note = underway.read()  # before the positions: they may be saved meanwhile, which clears the note
        positions = Positions(folder)
        disk.sync_folder(folder.path)  # what is counted below goes by these positions: they must not turn older again
        for identity in folder.segment_ids():
            if folder.size_bytes() + needed_bytes <= limit_bytes:
                break
            if identity != note.delivering:
                gone += _drop(folder, identity, positions.at.get(identity, 0), note.settled.get(identity, 0))
    return gone


def _drop(folder: Folder, identity: str, position: int, settled: int) -> bool:
    try:
        reader = SegmentReader(folder.segment(identity), position)
    except (OSError, SpoolTooNew):  # gone, or not ours to read
        return False
    try:
        if not reader.own():
            return False
        delivered = count_names(reader, settled)
        dropped = Dropped(reader.position, count_names(reader), delivered)
        disk.replace_file(folder.dropped(identity), msgspec.json.encode(dropped), durable=True)
        disk.remove(folder.segment(identity))
        return True
    finally:
        reader.close()


def count_names(reader: SegmentReader, end: int | None = None) -> Counter[str]:
    """The names of the lines from the reader's position on, up to `end` or to the segment's; moves the position."""
    names: Counter[str] = Counter()
    if end is None or reader.position < end:
        names[""] += len(reader.damaged)
        reader.damaged = []
    while (end is None or reader.position < end) and (raw := reader.lines(LINES)):
        if end is not None:
            raw = raw[: end - reader.position]
        names.update(names_of(raw))
        reader.position += len(raw)
    return +names


def names_of(raw: bytes) -> list[str]:
    """The name of each of these whole lines, `""` for a damaged one: what `decode_lines` finds, in half the time."""
    count = raw.count(b"\n")
    if raw.count(b"]\n[") == count - 1:
        with contextlib.suppress(*UNREADABLE):
            if len(found := _named.decode_lines(raw)) == count:
                return [line.name for line in found]
    lines, _, damaged = decode_lines(raw, 0)
    return [line.name for line in lines] + [""] * len(damaged)
