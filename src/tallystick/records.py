"""What travels: a `Record`, and a `Batch` of them.

Invariants
- A record never changes once it is in the spool; its `id` is its place there (`<segment>-<offset>`) or the caller's
  own.
- A batch is one contiguous range of one segment, `[start, end)` in bytes; splitting it gives two such ranges.
  This is what lets a ledger of three numbers make a redelivery harmless.
- Objects inside a record may be shared between records (equal tags are one dict). Whoever hands a record to
  code that changes what it gets (pymongo does) copies first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, TypeAlias

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


class Batch:
    """Records of one segment, in the order in which they were recorded.

    `start` and `end` are byte offsets in the segment: every record of the batch lies in `[start, end)`, and
    no record of another batch does. `missing` are the offsets, in order, of the lines in that range whose records
    are not here (damaged lines, and what `only` left out), so that a ledger never takes them for stored.
    """

    __slots__ = ("end", "header", "missing", "records", "start")

    def __init__(
        self, header: Header, start: int, end: int, records: list[Record], missing: tuple[int, ...] = ()
    ) -> None:
        self.header = header
        self.start = start
        self.end = end
        self.records = records
        self.missing = missing

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<Batch {self.header.segment}[{self.start}:{self.end}], {len(self)} records>"

    @property
    def segment(self) -> str:
        return self.header.segment

    def split(self, at: int) -> tuple[Batch, Batch]:
        """Two batches, of the records before index `at` and of those from it on; together the same range."""
        middle = self.records[at].offset
        before = tuple(offset for offset in self.missing if offset < middle)
        return (
            Batch(self.header, self.start, middle, self.records[:at], before),
            Batch(self.header, middle, self.end, self.records[at:], self.missing[len(before) :]),
        )

    def only(self, indices: Iterable[int]) -> Batch:
        """The records at these indices, in the same range: for sending again what a backend kept."""
        chosen = sorted(set(indices))
        left_out = {record.offset for record in self.records} - {self.records[i].offset for i in chosen}
        missing = tuple(sorted(left_out.union(self.missing)))
        return Batch(self.header, self.start, self.end, [self.records[i] for i in chosen], missing)
