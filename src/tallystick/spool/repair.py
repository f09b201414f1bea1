"""Mending a spool's segments where they lie, without losing or moving a readable line.

A record's id is its place, so a mended segment has every readable line at the byte where it was:

- A damaged line is moved to the dead letters, and its bytes become white space at the end of the line before it.
- A damaged header is written anew from the parts of it that can still be read, filled up with white space.

Invariants
- Only while this process holds the pipeline's agent lock, and only on segments that nobody holds open.
- A mended segment is written aside, synced, and put in the place of the old one: after a crash there is one of them.
- Before that the dead letters have every damaged byte, synced. A crash between that and the saved notebook costs the
  books the number of damaged lines, and no record.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from tallystick.codec import FORMAT, decode_header, encode_header
from tallystick.errors import SpoolError, SpoolTooNew
from tallystick.records import Damage, Header
from tallystick.spool import disk
from tallystick.spool.dead import DeadLetters, letter
from tallystick.spool.dropping import Underway
from tallystick.spool.folder import Folder
from tallystick.spool.look import pieces
from tallystick.spool.reader import SegmentReader
from tallystick.spool.source import SpoolSource

STALE_SECONDS: Final = 60.0
"""A file that was being made when its maker died is left over after so long."""

APART: Final = "-damaged"
"""Added to the segment's id in the dead letters made here: the segment goes on without these lines."""


class Mended(msgspec.Struct, frozen=True):
    """What was done to one segment: how many lines went to the dead letters, and what could not be done."""

    segment: str
    lines: int = 0
    header: bool = False
    left: str = ""


def repair(folder: Folder, dead_limit_bytes: int) -> list[Mended]:
    """Mend every segment of the pipeline that can be; its caller is `elected`."""
    found = []
    source = SpoolSource(folder, DeadLetters(folder, dead_limit_bytes))
    try:
        for identity in folder.segment_ids():
            if not folder.dropped(identity).exists():
                mended = _mend(source, identity)
                found += [mended] if mended else []
    finally:
        source.close()
    return found


def _mend(source: SpoolSource, identity: str) -> Mended | None:
    path = source.folder.segment(identity)
    try:
        reader = SegmentReader(path, source.positions.at.get(identity, 0))
    except FileNotFoundError:
        return None
    except SpoolTooNew as error:
        return Mended(identity, left=str(error))
    try:
        if not reader.own():
            return None
        start, header = reader.position, reader.codec.header
        damaged = [damage for piece in pieces(reader) for damage in piece.damaged]
        if start > reader.first:  # then the header counts as read, but the records that are left want it, too
            damaged = _header_damage(path) + damaged
        if not damaged:
            return None
        data = bytearray(path.read_bytes()[: reader.position])
        return _replace(source, identity, data, start, header, damaged)
    finally:
        reader.close()


def _header_damage(path: Path) -> list[Damage]:
    reader = SegmentReader(path)
    try:
        return reader.damaged
    finally:
        reader.close()


def _replace(
    source: SpoolSource, identity: str, data: bytearray, start: int, header: Header, damaged: list[Damage]
) -> Mended:
    left = ""
    if damaged[0].offset == 0:
        line = bytes(data[: data.index(b"\n")])
        new = rebuilt_header(line, identity)
        if new is None:
            left = "its header has no room to be written anew; its records go without host, app and global tags"
            damaged = damaged[1:]
        else:
            data[: len(line)] = new
            header = decode_header(new)
    apart = msgspec.structs.replace(header, segment=identity + APART)
    letters = [letter(apart, damage.offset, damage.line, damage.reason) for damage in damaged]
    if not letters:
        return Mended(identity, left=left)
    if source.dead.add(letters):
        raise SpoolError(f"{source.folder.dead} has no room left (dead_limit_bytes); retry or drop dead letters first")
    source.dead.sync()
    for damage in damaged:
        if damage.offset:
            data[damage.offset - 1 : damage.offset + len(damage.line)] = b" " * (1 + len(damage.line))
            if damage.offset == start:  # no longer the start of a line: what is settled ends behind it
                start += len(damage.line) + 1
    underway = Underway(source.folder)
    with underway.held() as ours:  # or an application might drop the segment in between, to make room
        if not ours:
            raise SpoolError(f"{source.folder.delivering_lock} is held by a process that does not move; end it first")
        disk.replace_file(source.folder.segment(identity), bytes(data), whole=True, durable=True)
        if identity in source.positions.at:
            source.positions.at[identity] = start
        source.positions.count_accepted({"": len(damaged)})
        source.positions.save(durable=True)
    return Mended(identity, sum(damage.offset > 0 for damage in damaged), damaged[0].offset == 0, left)


_TEXT: Final = rb'"%s":("(?:[^"\\\x00-\x1f]|\\.)*")'
_PARTS: Final = {
    "host": re.compile(_TEXT % b"host"),
    "app": re.compile(_TEXT % b"app"),
    "pid": re.compile(rb'"pid":(\d{1,10})\b'),
    "started": re.compile(rb'"started":(\d{1,19})\b'),
    "tags": re.compile(rb'"tags":(\{[^{}\x00-\x1f]*\})'),
}


def rebuilt_header(line: bytes, identity: str) -> bytes | None:
    """A header of the same length, with what can still be read of the damaged one; None when it cannot be so short."""
    known: dict[str, Any] = {}
    for name, pattern in _PARTS.items():
        if match := pattern.search(line):
            try:
                value = msgspec.json.decode(match[1])
                msgspec.convert({"tallystick": FORMAT, "segment": identity, name: value}, Header)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            known[name] = value
    while True:
        new = encode_header(Header(tallystick=FORMAT, segment=identity, **known))[:-1]
        if len(new) <= len(line):
            return new.ljust(len(line))
        if not known:
            return None
        known.popitem()


def remove_leftovers(folder: Folder) -> list[str]:
    """Remove the files that somebody was making when he died (`*.new`, held by nobody); their names."""
    gone = []
    for path in sorted(folder.segments.glob("*.new")):
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS and not disk.is_locked(path):
                disk.remove(path)
                gone.append(path.name)
        except FileNotFoundError:
            continue
    return gone
