"""Making room by dropping the oldest records (`when_full = "drop_old"`).

Invariants
- A segment is dropped only by who holds both its own lock (so nobody writes it, and no agent owns it) and the lock of
  `underway.py`, and only when that module's note does not say that its records are on their way to a backend.
- What is dropped is written to `<id>.dropped`, by name, before the segment goes; the agent adds it to the counts. While
  both files exist, the segment counts as dropped already.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tallystick.codec import UNREADABLE, Int64, decode_lines
from tallystick.errors import SpoolTooNew
from tallystick.spool import disk
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.reader import SegmentReader
from tallystick.spool.underway import Underway

LINES: Final = 1_000
"""So many are decoded at once, between reads that let other threads run: an application's calls wait meanwhile."""


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


def make_room(folder: Folder, needed_bytes: int, limit_bytes: int) -> int:
    """Drop oldest segments until `needed_bytes` fit under the limit; how many went. Zero when all are in use."""
    gone = 0
    underway = Underway(folder)
    with underway.held() as ours:
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
        if not reader.lock.held:  # a signal handler forked meanwhile, and its child has come back to here
            return False
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
