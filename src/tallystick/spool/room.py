"""Making room by dropping the oldest records (`when_full = "drop_old"`).

Invariants
- A segment is dropped only by who holds both its own lock (so nobody writes it, and no agent owns it) and the folder's
  delivering lock (so no record of it is on its way to a backend).
- What is dropped is written to `<id>.dropped`, by name, before the segment goes; the agent adds it to the counts. While
  both files exist, the segment counts as dropped already.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from tallystick.codec import decode_lines
from tallystick.spool import disk
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.reader import SegmentReader


class Dropped(msgspec.Struct, frozen=True):
    """How many lines of which names a dropped segment held from `start` (its position) on; `""` counts damaged
    lines.
    """

    start: int
    names: dict[str, int]


def make_room(folder: Folder, needed_bytes: int, limit_bytes: int) -> int:
    """Drop oldest segments until `needed_bytes` fit under the limit; how many went. Zero when all are in use."""
    gone = 0
    delivering = disk.LockFile(folder.delivering_lock)
    if not delivering.acquire():
        return 0
    try:
        positions: Positions | None = None
        for identity in folder.segment_ids():
            if folder.size_bytes() + needed_bytes <= limit_bytes:
                break
            positions = positions or Positions(folder)
            gone += _drop(folder, identity, positions.at.get(identity, 0))
        return gone
    finally:
        delivering.release()


def _drop(folder: Folder, identity: str, position: int) -> bool:
    try:
        reader = SegmentReader(folder.segment(identity), position)
    except FileNotFoundError:
        return False
    try:
        if not reader.own():
            return False
        dropped = Dropped(reader.position, count_names(reader))
        disk.replace_file(folder.dropped(identity), msgspec.json.encode(dropped), durable=True)
        disk.remove(folder.segment(identity))
        return True
    finally:
        reader.close()


def count_names(reader: SegmentReader) -> Counter[str]:
    """The names of the lines from the reader's position on; reads the segment to its end."""
    names: Counter[str] = Counter()
    names[""] += len(reader.damaged)
    while raw := reader.lines(5_000):
        lines, _, damaged = decode_lines(raw, reader.position)
        names.update([line.name for line in lines])
        names[""] += len(damaged)
        reader.position += len(raw)
    return +names
