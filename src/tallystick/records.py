"""What travels: a `Record`, and a `Batch` of them.

Invariants
- A record never changes once it is in the spool; its `id` is its place there (`<segment>-<offset>`) or the caller's
  own.
- A batch is one contiguous range of one segment, `[start, end)` in bytes; splitting it gives two such ranges.
  This is what lets a ledger of three numbers make a redelivery harmless.
- A batch knows its bytes. They travel through a channel untouched, so its place is the same wherever it is delivered.
- Objects inside a record may be shared between records (equal tags are one dict). Whoever hands a record to
  code that changes what it gets (pymongo does) copies first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

import msgspec

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
TIMING: Final = "timing"
EVENT: Final = "event"
KINDS: Final = (COUNTER, GAUGE, TIMING, EVENT)
"""The library's own kinds. A custom record has a kind of the user's own."""

Value: TypeAlias = int | float | bool | str | datetime | dict[str, Any] | list[Any] | None
"""Numbers are finite and integers fit 64 bits; datetimes are aware; documents are nested dicts and lists of these."""

Tags: TypeAlias = dict[str, str]


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line of a segment: what all its records share.

    `started` is in nanoseconds since the epoch, UTC. `tags` are the application's global tags.
    """

    tallystick: int
    segment: str
    host: str = ""
    pid: int = 0
    app: str = ""
    started: int = 0
    tags: Tags = {}


NOWHERE: Final = Header(tallystick=1, segment="")
"""The header of a record that is in no spool (yet)."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened.

    `tags` are the global tags and the record's own, texts by text. Tags given as a list of words are there as
    `{word: "true"}`, so that every backend can filter and group by them, and in `words` as they were given.
    `sample_rate` says which share of such calls was recorded: sums and counts weigh a record by its inverse.
    `own_id` is the id that the caller gave, if any: the same id again is the same row with the newest content.
    `header` and `offset` are the record's place in a spool.
    """

    timestamp_ns: int
    kind: str
    name: str
    value: Value = None
    tags: Tags = {}
    words: tuple[str, ...] = ()
    header: Header = NOWHERE
    offset: int = 0
    unit: str | None = None
    metadata: dict[str, Any] = {}
    sample_rate: float = 1.0
    own_id: str | None = None

    @property
    def id(self) -> str:
        """The caller's own id, else the record's place, `<segment>-<offset>`: unique, the same on every redelivery."""
        return f"{self.header.segment}-{self.offset}" if self.own_id is None else self.own_id

    @property
    def replaces(self) -> bool:
        """Whether a record with the same id is to be replaced by this one, unless that one is newer."""
        return self.own_id is not None

    @property
    def host(self) -> str:
        return self.header.host

    @property
    def app(self) -> str:
        return self.header.app

    @property
    def pid(self) -> int:
        return self.header.pid


def checked_rate(sample_rate: float) -> float:
    """The sample rate as a store may keep it: sums are divided by it. Raises `ValueError` for any other."""
    if not 0 < sample_rate <= 1:
        raise ValueError(f"sample_rate: {sample_rate} is not above 0 and at most 1")
    return sample_rate


class Damage(msgspec.Struct, frozen=True):
    """A line that cannot be read: its byte offset in the segment, its bytes without the newline, and why."""

    offset: int
    line: bytes
    reason: str


class ReadsLines(Protocol):
    """What decodes the lines of a batch, as `codec.Reader` does."""

    def records(self, raw: bytes, start: int) -> tuple[list[Record], list[Damage]]: ...
    def names(self, raw: bytes, start: int) -> tuple[list[str], list[int], list[Damage]]: ...


class Batch:
    """Records of one segment, in the order in which they were recorded.

    `start` and `end` are byte offsets in the segment: every record of the batch lies in `[start, end)`, and
    no record of another batch does. `raw` are the bytes of that range. `missing` are the offsets, in order, of the
    lines in the range whose records are not here (damaged lines, and what `only` left out), so that a ledger never
    takes them for stored.

    A batch made `of` bytes decodes them when somebody looks: `names`, `offsets` and `len` read only the beginning of
    each line, `records` the whole. A line can turn out to be damaged by the second look; then it is `missing` from
    that moment on. So a backend looks at `records` first, and a channel never does.
    """

    __slots__ = ("_damaged", "_left_out", "_names", "_offsets", "_raw", "_reader", "_records", "end", "header", "start")

    def __init__(
        self, header: Header, start: int, end: int, records: list[Record] | None, missing: tuple[int, ...] = ()
    ) -> None:
        self.header = header
        self.start = start
        self.end = end
        self._records = records
        self._left_out = missing
        self._names: list[str] | None = None
        self._offsets: list[int] | None = None
        self._damaged: list[Damage] = []
        self._raw: bytes | None = None
        self._reader: ReadsLines | None = None

    @classmethod
    def of(cls, header: Header, start: int, raw: bytes, reader: ReadsLines, missing: tuple[int, ...] = ()) -> Batch:
        """The batch of the whole lines in `raw`, which begins at byte `start`, but for those at `missing`."""
        batch = cls(header, start, start + len(raw), None, missing)
        batch._raw, batch._reader = raw, reader
        return batch

    def __len__(self) -> int:
        return len(self.offsets)

    def __repr__(self) -> str:
        return f"<Batch {self.header.segment}[{self.start}:{self.end}], {len(self)} records>"

    @property
    def segment(self) -> str:
        return self.header.segment

    @property
    def raw(self) -> bytes:
        """The bytes of the range, as in the spool. Raises `ValueError` for a batch that was made of records."""
        if self._raw is None:
            raise ValueError(f"{self!r} was made of records and has no bytes")
        return self._raw

    @property
    def records(self) -> list[Record]:
        if self._records is None:
            assert self._reader is not None
            records, damaged = self._reader.records(self.raw, self.start)
            left_out = set(self._left_out)
            self._records = [record for record in records if record.offset not in left_out] if left_out else records
            self._damaged = [damage for damage in damaged if damage.offset not in left_out]
            self._names = self._offsets = None
        return self._records

    @property
    def offsets(self) -> list[int]:
        """Where each record begins in the segment."""
        if self._offsets is None:
            self._look()
        assert self._offsets is not None
        return self._offsets

    @property
    def names(self) -> list[str]:
        """The metric's name of each record."""
        if self._names is None:
            self._look()
        assert self._names is not None
        return self._names

    @property
    def damaged(self) -> list[Damage]:
        """The lines that cannot be read, as far as somebody looked."""
        if self._records is None:
            self._look()
        return self._damaged

    @property
    def missing(self) -> tuple[int, ...]:
        damaged = [damage.offset for damage in self.damaged]
        return tuple(sorted({*self._left_out, *damaged})) if damaged else self._left_out

    def _look(self) -> None:
        if self._records is not None:
            self._offsets = [record.offset for record in self._records]
            self._names = [record.name for record in self._records]
        elif self._offsets is None:
            assert self._reader is not None
            names, offsets, damaged = self._reader.names(self.raw, self.start)
            left_out = set(self._left_out)
            kept = [index for index, offset in enumerate(offsets) if offset not in left_out]
            self._names, self._offsets = [names[index] for index in kept], [offsets[index] for index in kept]
            self._damaged = [damage for damage in damaged if damage.offset not in left_out]

    def line(self, offset: int) -> bytes:
        """The line that begins at this place of the segment, without its newline."""
        at = offset - self.start
        return self.raw[at : self.raw.index(b"\n", at)]

    def split(self, at: int) -> tuple[Batch, Batch]:
        """Two batches, of the records before index `at` and of those from it on; together the same range."""
        middle = self.offsets[at]
        return self._part(self.start, middle, range(at)), self._part(middle, self.end, range(at, len(self)))

    def only(self, indices: Iterable[int]) -> Batch:
        """The records at these indices, in the same range: for sending again what a backend kept."""
        return self._part(self.start, self.end, sorted(set(indices)))

    def _part(self, start: int, end: int, indices: Sequence[int]) -> Batch:
        """The records at these indices of ours, in a range that holds them."""
        offsets = self.offsets
        chosen = [offsets[index] for index in indices]
        missing = {offset for offset in self.missing if start <= offset < end}
        missing.update(offset for offset in offsets if start <= offset < end)
        missing.difference_update(chosen)
        records = None if self._records is None else [self._records[index] for index in indices]
        part = Batch(self.header, start, end, records, tuple(sorted(missing)))
        part._offsets = chosen
        part._names = [self.names[index] for index in indices]
        part._reader = self._reader
        if self._raw is not None:
            part._raw = self._raw[start - self.start : end - self.start]
        return part
