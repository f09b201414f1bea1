"""What is in a spool's segments: for `spool list`, `check` and `dump`, and as the ground of `repair`. Reads only."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tallystick.errors import SpoolTooNew
from tallystick.records import Batch, Damage, Header
from tallystick.spool import disk
from tallystick.spool.dropping import count_names
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.reader import SegmentReader

AT_ONCE = 2_000


class Seen(msgspec.Struct, frozen=True):
    """One segment. `in_use` by its writer, or by the agent that is delivering it.

    `position` is how far delivery has come, in bytes; `lines` are those that are left. `too_new` says why this version
    cannot read it.
    """

    pipeline: str
    segment: str
    started: float
    header: Header | None
    in_use: bool
    size_bytes: int
    position: int
    lines: int
    too_new: str = ""


def look(folder: Folder) -> Iterator[Seen]:
    """Every segment of a pipeline, oldest first."""
    positions = Positions(folder)
    for identity in folder.segment_ids():
        path = folder.segment(identity)
        at = positions.at.get(identity, 0)
        in_use = disk.is_locked(path)
        try:
            size_bytes = path.stat().st_size
        except FileNotFoundError:  # delivered meanwhile
            continue
        try:
            reader = SegmentReader(path, at)
        except FileNotFoundError:
            continue
        except SpoolTooNew as error:
            yield Seen(folder.name, identity, _started(identity), None, in_use, size_bytes, at, 0, str(error))
            continue
        try:
            header = reader.codec.header
            lines = sum(count_names(reader).values())
            yield Seen(folder.name, identity, _started(identity), header, in_use, size_bytes, at, lines)
        finally:
            reader.close()


def _started(identity: str) -> float:
    """When the segment was made: its id begins with milliseconds since the epoch. 0 when it does not."""
    try:
        return int(identity[:12], 16) / 1000
    except ValueError:
        return 0.0


class Piece(msgspec.Struct, frozen=True):
    """Some whole lines of a segment: as they stand, what they say, and those that cannot be read."""

    raw: bytes
    batch: Batch
    damaged: list[Damage]


def pieces(reader: SegmentReader) -> Iterator[Piece]:
    """The segment from the reader's position on; damage of the header comes with the first piece.

    Owns the segment if it may: then a block of zeros does not look like its end.
    """
    reader.own()
    header_damage, reader.damaged = reader.damaged, []
    while (raw := reader.lines(AT_ONCE)) or header_damage:
        batch, damaged = reader.codec.batch(raw, reader.position)
        yield Piece(raw, batch, header_damage + damaged)
        header_damage = []
        reader.position += len(raw)
        if not raw:
            break


def chosen(folder: Folder, wanted: tuple[str, ...]) -> list[str]:
    """The ids of the segments whose id begins with one of these; without any, all."""
    return [one for one in folder.segment_ids() if not wanted or one.startswith(wanted)]
