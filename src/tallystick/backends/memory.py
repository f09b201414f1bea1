"""Records kept in this process, and every query answered in plain Python: for tests, and as the oracle.

The contract suite holds every other backend to the answers given here, so this file is written to be obviously
right against the meaning that `queries.py` states, not to be fast: each answer walks through all records.
Nothing is ever forgotten but by `prune`; a long-running process wants a database instead.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Self

from tallystick.backends.base import ACCEPTED, Line, WriteResult
from tallystick.errors import SettingsError
from tallystick.masking import mask_url
from tallystick.moments import nanoseconds
from tallystick.queries import Query, Series, finish
from tallystick.records import Batch, Record, checked_rate

Aggregate = Callable[[list[Record]], float | None]
"""From the records of one point, oldest first, to its value; None when there is nothing to say."""


class MemoryBackend:
    """`memory://`: the records are in this object, by id, and gone with it."""

    inline: ClassVar[bool] = True

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_url(cls, url: str) -> Self:
        if url not in ("memory:", "memory://"):
            raise SettingsError(f"backend: {mask_url(url)!r} names a place, but memory has none; write memory://")
        return cls()

    @property
    def address(self) -> str:
        return "memory://"

    def open(self) -> None:
        """Nothing to connect to."""

    def write(self, batch: Batch) -> WriteResult:
        rejected: dict[int, str] = {}
        with self._lock:
            for index, record in enumerate(batch.records):
                try:
                    checked_rate(record.sample_rate)
                except ValueError as error:
                    rejected[index] = str(error)
                    continue
                stored = self._records.get(record.id)
                if stored is None or (record.replaces and record.timestamp_ns >= stored.timestamp_ns):
                    self._records[record.id] = record
        return WriteResult(rejected) if rejected else ACCEPTED

    def query(self, query: Query) -> list[Series]:
        return answer(self._all(), query)

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        found = [record for record in self._all() if fits(record, query)]
        found.sort(key=lambda record: (record.timestamp_ns, record.header.segment, record.offset))
        yield from found if newest is None else found[max(0, len(found) - newest) :]

    def close(self) -> None:
        """The records stay, for whoever asks next."""

    def setup(self) -> list[str]:
        return []

    def check(self) -> list[Line]:
        return [Line(ok=True, what=f"{len(self._all())} records in this process's memory")]

    def indices(self) -> list[dict[str, Any]]:
        times = [record.timestamp_ns / 1e9 for record in self._all()]
        return [
            {
                "name": "memory",
                "records": len(times),
                "size_bytes": None,
                "oldest": min(times, default=None),
                "newest": max(times, default=None),
            }
        ]

    def prune(self, before: float) -> int:
        limit = nanoseconds(before, "before")
        with self._lock:
            old = [key for key, record in self._records.items() if record.timestamp_ns < limit]
            for key in old:
                del self._records[key]
        return len(old)

    def _all(self) -> list[Record]:
        with self._lock:
            return list(self._records.values())


def answer(records: Iterable[Record], query: Query, aggregate: Aggregate | None = None) -> list[Series]:
    """What `queries.py` says the answer is. Another `aggregate` than the query's own may be put in its place."""
    value_of = aggregate or aggregate_of(query)
    groups: dict[Any, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.timestamp_ns):
        if fits(record, query) and (query.aggregate == "count" or is_number(record.value)):
            groups[record.name, record.unit, tuple(record.tags.get(tag) for tag in query.by)].append(record)
    series = []
    for (name, unit, tags), members in groups.items():
        points = [
            (moment, float(value)) for moment, part in _points(members, query) if (value := value_of(part)) is not None
        ]
        if points:
            series.append(Series(name=name, unit=unit, tags=dict(zip(query.by, tags, strict=True)), points=points))
    return finish(series, query.limit)


def fits(record: Record, query: Query) -> bool:
    """Whether the query is about this record."""
    return (
        query.matches_name(record.name)
        and (not query.kinds or record.kind in query.kinds)
        and all(record.tags.get(tag) in allowed for tag, allowed in query.where.items())
        and (query.start_ns is None or record.timestamp_ns >= query.start_ns)
        and (query.end_ns is None or record.timestamp_ns < query.end_ns)
    )


def is_number(value: Any) -> bool:
    return isinstance(value, int | float)  # True and False are ints


def aggregate_of(query: Query) -> Aggregate:
    """The query's own aggregate. It is given records whose values are numbers, except for `count`."""
    name = query.aggregate
    if name == "rate":
        return _rate(query)
    if query.percentile is not None:
        percent = round(query.percentile * 100)
        return lambda records: nearest_rank([record.value for record in records], percent)
    return {"count": _count, "sum": _sum, "mean": _mean, "min": _min, "max": _max, "last": _last}[name]


def nearest_rank(values: list[Any], percent: int) -> float:
    """The smallest of the values that has at least `percent` % of them at or below it."""
    rank = max(1, -(-len(values) * percent // 100))
    return float(sorted(values)[rank - 1])


def _points(records: list[Record], query: Query) -> list[tuple[float, list[Record]]]:
    """The records by point, with the point's time in epoch seconds."""
    if query.bucket_ns is None:
        return [(0.0 if query.start is None else query.start, records)]
    buckets: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        buckets[record.timestamp_ns // query.bucket_ns].append(record)
    return [(number * query.bucket_ns / 1e9, buckets[number]) for number in sorted(buckets)]


def _count(records: list[Record]) -> float:
    return _added([1 / record.sample_rate for record in records])


def _sum(records: list[Record]) -> float:
    return _added([_number(record) / record.sample_rate for record in records])


def _added(numbers: list[float]) -> float:
    """Rounded once; beyond the largest float as floats add up one after the other: to an infinity."""
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        return sum(numbers)


def _mean(records: list[Record]) -> float:
    return _sum(records) / _count(records)


def _min(records: list[Record]) -> float:
    return min(_number(record) for record in records)


def _max(records: list[Record]) -> float:
    return max(_number(record) for record in records)


def _last(records: list[Record]) -> float:
    newest = max(record.timestamp_ns for record in records)
    return max(_number(record) for record in records if record.timestamp_ns == newest)


def _rate(query: Query) -> Aggregate:
    def rate(records: list[Record]) -> float | None:
        if query.bucket_ns is not None:
            seconds = query.bucket_ns / 1e9
        elif query.start is not None and query.end is not None:
            seconds = query.end - query.start
        else:
            moments = [record.timestamp_ns for record in records]
            seconds = (max(moments) - min(moments)) / 1e9
        return _sum(records) / seconds if seconds else None

    return rate


def _number(record: Record) -> float:
    assert isinstance(record.value, int | float)
    return float(record.value)
