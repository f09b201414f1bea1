"""Record ↔ line, batch ↔ bytes.

A spool is newline-delimited JSON. Its first line is a `Header`; each other line is
`[timestamp_ns, kind, name, value, tags, extra]`, trailing parts left out when empty:

    [1763683200123456789,"counter","user.signup",1,{"plan":"pro"}]
    [1763683200123999999,"timing","request.time",0.0123,{"route":"/checkout"},{"unit":"s"}]

`extra` may hold `unit`, `metadata`, `id` (the caller's own), `rate` (the sample rate) and `datetimes` (JSON pointers,
RFC 6901, to the parts of the value that are datetimes, which stand there as RFC 3339 text), and `together`: this line
and those behind it are one unit of work of so many lines, of which a reader takes all or none.

Invariants
- JSON text escapes control characters, so a raw newline only ever ends a line and a NUL is never in one.
- Damage stays local: a line that cannot be read is reported with its place and reason; its neighbours are read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import Annotated, Any, Final, TypeVar

import msgspec

from tallystick.errors import SpoolTooNew, TallystickError
from tallystick.records import Batch, Damage, Header, Record, Tags

T = TypeVar("T")

FORMAT: Final = 1
"""The number in every header. A file with a larger one is left alone."""

MAX_INTEGER: Final = 2**63 - 1
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=MAX_INTEGER)]

encode: Final = msgspec.json.Encoder().encode


class Extra(msgspec.Struct, frozen=True, omit_defaults=True):
    unit: str | None = None
    metadata: dict[str, Any] = {}
    id: str | None = None
    rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    datetimes: tuple[str, ...] = ()
    together: int = 0


TOGETHER: Final = b'"together":'
"""What stands in the first line of a unit of work, and perhaps in others."""
_NO_EXTRA: Final = Extra()
ALL: Final = _NO_EXTRA.rate
"""The sample rate 1.0; msgspec leaves out of a line only this very object."""
_ABSENT: Final = msgspec.Raw()
_NONE: Final[dict[str, Any]] = {}
"""The metadata of all records that have none."""


class Line(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A line as it stands: tags and extra still as JSON, since most of them repeat or are absent."""

    timestamp_ns: Int64
    kind: str
    name: str
    value: Any
    tags: msgspec.Raw = _ABSENT
    extra: msgspec.Raw = _ABSENT


class Named(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a line says first: enough to count it."""

    timestamp_ns: Int64
    kind: str
    name: str
    value: msgspec.Raw


class DamagedHeader(TallystickError, ValueError):
    """The first line of a segment cannot be read, so its records have no id and no global tags."""


class _Format(msgspec.Struct):
    """What every header says, whatever else a later format says."""

    tallystick: int


UNREADABLE: Final = (msgspec.MsgspecError, ValueError, TypeError, LookupError, OverflowError, RecursionError)
"""What decoding raises on damaged bytes."""

_header = msgspec.json.Decoder(Header)
_format = msgspec.json.Decoder(_Format)
_lines = msgspec.json.Decoder(Line)
_named = msgspec.json.Decoder(Named)
_extra = msgspec.json.Decoder(Extra)
_tags = msgspec.json.Decoder(dict[str, str] | list[str])


def with_checksum(data: bytes) -> bytes:
    """The line with a second one: its checksum. For small files that are believed only when they are whole."""
    return b"%b\n%d\n" % (data, zlib.crc32(data))


def without_checksum(data: bytes) -> bytes:
    """The inverse of `with_checksum`. Raises `ValueError` for what did not come from there."""
    line, _, checksum = data.partition(b"\n")
    if int(checksum) != zlib.crc32(line):
        raise ValueError("the checksum does not fit")
    return line


def encode_header(header: Header) -> bytes:
    return encode(header) + b"\n"


def decode_header(line: bytes) -> Header:
    """Raises `DamagedHeader`, or `SpoolTooNew` for a format this version does not know."""
    try:
        number = _format.decode(line).tallystick
        if number > FORMAT:
            raise SpoolTooNew(
                f"a segment has format {number}, this version reads up to {FORMAT}; upgrade tallystick: {line[:80]!r}"
            )
        return _header.decode(line)
    except UNREADABLE as error:
        raise DamagedHeader(f"no spool header: {line[:80]!r} ({error})") from None


def decode_lines(raw: bytes, start: int) -> tuple[list[Line], list[int], list[Damage]]:
    """Whole lines → what they say, where each one starts in the segment, and the damaged ones.

    `raw` begins at byte `start` of the segment and ends with a newline.
    """
    return _decode(raw, start, _lines)


def _decode(raw: bytes, start: int, decoder: msgspec.json.Decoder[T]) -> tuple[list[T], list[int], list[Damage]]:
    pieces = raw.split(b"\n")
    pieces.pop()
    offsets = list(accumulate([len(piece) + 1 for piece in pieces], initial=start))
    offsets.pop()
    # To the decoder a newline is mere white space. One between `]` and `[` is never inside a line, since within JSON
    # a comma or another bracket follows `]`; so when all are, its lines are the pieces.
    if raw.count(b"]\n[") == len(pieces) - 1:
        try:
            lines = decoder.decode_lines(raw)
        except UNREADABLE:
            lines = []
        if len(lines) == len(pieces):
            return lines, offsets, []
    return _decode_one_by_one(pieces, offsets, decoder)


def _decode_one_by_one(
    pieces: list[bytes], offsets: list[int], decoder: msgspec.json.Decoder[T]
) -> tuple[list[T], list[int], list[Damage]]:
    lines, places, damaged = [], [], []
    for piece, offset in zip(pieces, offsets, strict=True):
        try:
            lines.append(decoder.decode(piece))
            places.append(offset)
        except UNREADABLE as error:
            damaged.append(Damage(offset, piece, f"damaged line: {error}"))
    return lines, places, damaged


def unit_size(line: bytes) -> int:
    """How many lines, this one included, are the unit of work that begins with this line; 0 when none does."""
    try:
        return _extra.decode(_lines.decode(line).extra).together
    except UNREADABLE:
        return 0


class Reader:
    """Turns the lines of one segment into records; keeps the tags it has seen, since most records share them."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self._seen: dict[bytes, tuple[Tags, tuple[str, ...]]] = {b"": (header.tags, ())}

    def batch(self, raw: bytes, start: int) -> tuple[Batch, list[Damage]]:
        """The batch of the whole lines in `raw`, which begins at byte `start` of the segment, decoded."""
        batch = Batch.of(self.header, start, raw, self)
        assert batch.records is not None
        return batch, batch.damaged

    def names(self, raw: bytes, start: int) -> tuple[list[str], list[int], list[Damage]]:
        """The metrics' names in these lines, where each line begins, and the damaged ones."""
        lines, offsets, damaged = _decode(raw, start, _named)
        return [line.name for line in lines], offsets, damaged

    def records(self, raw: bytes, start: int) -> tuple[list[Record], list[Damage]]:
        """The records in these lines, and the damaged ones."""
        lines, offsets, damaged = decode_lines(raw, start)
        header, known = self.header, self._seen.get
        records: list[Record] = []
        add = records.append
        for line, offset in zip(lines, offsets, strict=True):
            try:
                if line.extra is not _ABSENT:
                    add(self.record(line, offset))
                    continue
                # What `record` does for a line without extras, here since this loop bounds what the agent delivers.
                text = bytes(line.tags)
                tags, words = known(text) or self._learn(text)
                add(
                    Record(
                        line.timestamp_ns, line.kind, line.name, line.value, tags, words, header, offset, None, _NONE
                    )
                )
            except UNREADABLE as error:
                place = offset - start
                damaged.append(Damage(offset, raw[place : raw.index(b"\n", place)], f"damaged line: {error}"))
        return records, damaged

    def record(self, line: Line, offset: int) -> Record:
        header = self.header
        known = self._seen.get(raw := bytes(line.tags))
        tags, words = known if known is not None else self._learn(raw)
        if line.extra is _ABSENT:
            return Record(line.timestamp_ns, line.kind, line.name, line.value, tags, words, header, offset)
        extra = _extra.decode(line.extra)
        value = with_datetimes(line.value, extra.datetimes)
        return Record(
            line.timestamp_ns,
            line.kind,
            line.name,
            value,
            tags,
            words,
            header,
            offset,
            extra.unit,
            extra.metadata,
            extra.rate,
            extra.id,
        )

    def _learn(self, raw: bytes) -> tuple[Tags, tuple[str, ...]]:
        given = _tags.decode(raw)
        if isinstance(given, list):
            known: tuple[Tags, tuple[str, ...]] = ({**self.header.tags, **dict.fromkeys(given, "true")}, tuple(given))
        else:
            known = ({**self.header.tags, **given}, ())
        if len(self._seen) > 10_000:
            del self._seen[next(key for key in self._seen if key)]
        self._seen[raw] = known
        return known


def with_datetimes(value: Any, pointers: Iterable[str]) -> Any:
    """The inverse of `plain`: the value with its texts at these JSON pointers made datetimes again, in place."""
    for pointer in pointers:
        value = _with_datetime(value, pointer.split("/")[1:])
    return value


def _with_datetime(value: Any, path: list[str]) -> Any:
    """The value with the text at this place made a datetime again; the path is a split JSON pointer."""
    if not path:
        return datetime.fromisoformat(value).astimezone(UTC)
    key: Any = path[0].replace("~1", "/").replace("~0", "~")
    if isinstance(value, list):
        key = int(key)
    value[key] = _with_datetime(value[key], path[1:])
    return value


def record_line(record: Record, global_tags: Tags | None = None) -> bytes:
    """The line, newline included, that reads back as this record (its place apart)."""
    shared = global_tags or {}
    tags: Any = list(record.words) or {k: v for k, v in record.tags.items() if shared.get(k) != v}
    value, pointers = plain(record.value)
    extra = Extra(
        unit=record.unit,
        metadata=record.metadata,
        id=record.own_id,
        rate=ALL if record.sample_rate == 1.0 else record.sample_rate,
        datetimes=tuple(pointers),
    )
    return encode_line(record.timestamp_ns, record.kind, record.name, value, tags, extra)


def encode_line(timestamp_ns: int, kind: str, name: str, value: Any, tags: Any, extra: Extra = _NO_EXTRA) -> bytes:
    parts: list[Any] = [timestamp_ns, kind, name, value]
    if extra != _NO_EXTRA:
        parts += [tags or {}, extra]
    elif tags:
        parts.append(tags)
    return encode(parts) + b"\n"


def plain(value: Any) -> tuple[Any, list[str]]:
    """A value as plain JSON, copied where needed, and the JSON pointers of what were datetimes."""
    pointers = list(_datetimes(value, ""))
    return (value if not pointers else msgspec.to_builtins(value)), pointers


def _datetimes(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, datetime):
        yield path or ""
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _datetimes(part, f"{path}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _datetimes(part, f"{path}/{index}")
