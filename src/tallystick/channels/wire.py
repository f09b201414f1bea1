"""What travels through a channel: a batch as the spool's own bytes, with its place.

    {"tallystick":1,"start":4711,"missing":[4802]}          where the lines begin in their segment; what is left out
    {"tallystick":1,"segment":"0198…","host":"web-1",…}     the segment's header
    [1763683200123456789,"counter","user.signup",1]         the lines, untouched
    …

Invariants
- A batch keeps its place, so a store's ledger makes one row a record, whatever is redelivered by whom.
- An entry is data from a network: its size, lines and place are checked before anything is decoded, and nothing in it
  is ever run. What cannot be read raises `Unreadable` with the reason; the receiver keeps its bytes as a dead letter.
- The range ends where the bytes end. So a forged place cannot claim more of a segment than it brings lines for.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from tallystick.codec import UNREADABLE, Reader, decode_header, encode, encode_header
from tallystick.errors import SpoolTooNew, TallystickError
from tallystick.records import Batch

FORMAT: Final = 1
ENTRY_BYTES: Final = 16 << 20
"""The largest entry that is read."""
LINES: Final = 100_000
_HEADER_BYTES: Final = 1 << 20
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


class Unreadable(TallystickError, ValueError):
    """An entry of a channel is not a batch of ours."""


class _Envelope(msgspec.Struct, omit_defaults=True):
    tallystick: int
    start: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    missing: tuple[int, ...] = ()


_envelope: Final = msgspec.json.Decoder(_Envelope)


def pack(batch: Batch) -> bytes:
    """The batch as one entry. Decodes no record."""
    envelope = _Envelope(FORMAT, batch.start, batch.missing)
    return b"%b\n%b%b" % (encode(envelope), encode_header(batch.header), batch.raw)


def unpack(entry: bytes) -> Batch:
    """The batch, its lines not yet decoded. Raises `Unreadable`."""
    if len(entry) > ENTRY_BYTES:
        raise Unreadable(f"the entry has {len(entry):,} bytes, read are at most {ENTRY_BYTES:,}")
    first, second = entry.find(b"\n", 0, _HEADER_BYTES), -1
    if first >= 0:
        second = entry.find(b"\n", first + 1, first + _HEADER_BYTES)
    if second < 0 or not entry.startswith(b"{"):
        raise Unreadable(f"the entry is not a batch of tallystick: {entry[:40]!r}")
    try:
        envelope = _envelope.decode(entry[:first])
        if envelope.tallystick > FORMAT:
            raise SpoolTooNew(f"the entry has format {envelope.tallystick}; upgrade tallystick on this host")
        header = decode_header(entry[first + 1 : second])
    except (SpoolTooNew, *UNREADABLE) as error:
        raise Unreadable(f"the entry's head cannot be read: {error}") from None
    raw = entry[second + 1 :]
    if not raw.endswith(b"\n"):
        raise Unreadable("the entry's last line is cut off")
    if raw.count(b"\n") > LINES:
        raise Unreadable(f"the entry has more than {LINES:,} lines")
    if not _SEGMENT.fullmatch(header.segment):
        raise Unreadable(f"the entry names a segment that cannot be: {header.segment!r:.60}")
    end = envelope.start + len(raw)
    if any(not envelope.start <= offset < end for offset in envelope.missing):
        raise Unreadable("the entry leaves out lines that are not in its range")
    missing = tuple(sorted(set(envelope.missing)))
    return Batch.of(header, envelope.start, raw, Reader(header), missing)
