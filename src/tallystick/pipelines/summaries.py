"""What makes sense to show of a metric, by its kind; asked of the backend, as `query`, `top` and `demo` show it.

    counter  sum and count             timing  count, mean, p95, max
    gauge    last, mean, min, max, count    event, and kinds of the user's own: count

The shape over time is of the first that fits: the sum of a counter, the mean of a gauge or a timing, else the count.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from tallystick.backends.base import Backend
from tallystick.moments import Moment
from tallystick.queries import Query, Series
from tallystick.records import COUNTER, EVENT, GAUGE, KINDS, TIMING

OWN: Final = "own kind"
AGGREGATES: Final = {
    COUNTER: ("sum", "count"),
    GAUGE: ("last", "mean", "min", "max", "count"),
    TIMING: ("count", "mean", "p95", "max"),
    EVENT: ("count",),
    OWN: ("count",),
}
SHAPE: Final = {COUNTER: "sum", GAUGE: "mean", TIMING: "mean"}
BARS: Final = 20
_COARSE: Final = 300
_STEPS: Final = (1, 2, 3, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)

Key = tuple[str, str | None, tuple[tuple[str, str | None], ...]]


class Filters(msgspec.Struct, frozen=True):
    """Which records are meant. `query` makes the question of it."""

    kinds: tuple[str, ...] = ()
    where: Mapping[str, list[str]] = {}
    last: str | None = None
    start: Moment | None = None
    end: Moment | None = None

    @property
    def bounded(self) -> bool:
        """Whether a time range was asked for."""
        return not (self.last is None and self.start is None and self.end is None)

    def query(self, names: tuple[str, ...], **more: Any) -> Query:
        given = {"last": self.last, "start": self.start, "end": self.end, "kinds": self.kinds, **more}
        return Query(names or "*", where=self.where, **given)


class Summary(msgspec.Struct, frozen=True):
    """One metric (for one group of tags). `points` are (epoch seconds of the bucket's start, value)."""

    kind: str
    name: str
    unit: str | None
    tags: dict[str, str | None]
    values: dict[str, float]
    bucket_seconds: float
    points: list[tuple[float, float]]


class Span(msgspec.Struct, frozen=True):
    """A range of time in epoch seconds, cut into buckets."""

    start: float
    end: float
    bucket_seconds: float

    def buckets(self) -> Iterator[float]:
        first = math.floor(self.start / self.bucket_seconds)
        for index in range(first, math.ceil(self.end / self.bucket_seconds)):
            yield index * self.bucket_seconds


def summaries(
    backend: Backend,
    names: tuple[str, ...],
    filters: Filters,
    by: tuple[str, ...],
    over: Span,
    limit: int | None = None,
) -> list[Summary]:
    """What the backend says of these names within `over`, by kind; of each kind the `limit` largest."""
    found: list[Summary] = []
    for kind in KINDS:
        if not filters.kinds or kind in filters.kinds:
            found += _of_kind(backend, kind, _within(filters, (kind,), over), names, by, over)
    own = tuple(kind for kind in filters.kinds if kind not in KINDS)
    if own:
        found += _of_kind(backend, OWN, _within(filters, own, over), names, by, over)
    elif not filters.kinds:
        found += _of_other_kinds(backend, _within(filters, (), over), names, by, over, found)
    return found if limit is None else _largest(found, limit)


def _within(filters: Filters, kinds: tuple[str, ...], over: Span) -> Filters:
    return Filters(kinds, filters.where, None, over.start, over.end)


def _of_kind(
    backend: Backend, kind: str, asked: Filters, names: tuple[str, ...], by: tuple[str, ...], over: Span
) -> list[Summary]:
    values: dict[Key, dict[str, float]] = {}
    for aggregate in ("count", *AGGREGATES[kind]):
        for series in backend.query(asked.query(names, aggregate=aggregate, by=by)):
            values.setdefault(_key(series), {})[aggregate] = series.points[0][1]
        if not values:
            return []
    shape = asked.query(names, aggregate=SHAPE.get(kind, "count"), by=by, bucket=over.bucket_seconds)
    points = {_key(series): series.points for series in backend.query(shape)}
    return [
        Summary(kind, key[0], key[1], dict(key[2]), known, over.bucket_seconds, points.get(key, []))
        for key, known in values.items()
    ]


def _of_other_kinds(
    backend: Backend, asked: Filters, names: tuple[str, ...], by: tuple[str, ...], over: Span, known: list[Summary]
) -> list[Summary]:
    """What is there beyond the library's own kinds. No question says which kinds there are, so: all minus known."""
    counted: dict[Key, float] = {}
    for one in known:
        key = (one.name, one.unit, tuple(one.tags.items()))
        counted[key] = counted.get(key, 0.0) + one.values["count"]
    found = []
    for series in backend.query(asked.query(names, aggregate="count", by=by)):
        rest = series.points[0][1] - counted.get(_key(series), 0.0)
        if rest > 0.5:
            values = {"count": rest}
            found.append(Summary(OWN, series.name, series.unit, dict(series.tags), values, over.bucket_seconds, []))
    return found


def _largest(found: list[Summary], limit: int) -> list[Summary]:
    kept = []
    for kind, (first, *_) in AGGREGATES.items():
        of_kind = [(one.values.get(first, 0.0), one) for one in found if one.kind == kind]
        kept += [one for _, one in sorted(of_kind, key=lambda pair: -pair[0])[:limit]]
    return kept


def _key(series: Series) -> Key:
    return series.name, series.unit, tuple(series.tags.items())


def find_span(backend: Backend, names: tuple[str, ...], filters: Filters) -> Span | None:
    """From the first to the last record that fits, in about `BARS` buckets; None when none fits.

    Without a range of time asked for, the last 24 hours. Looks twice: in coarse buckets, then closer.
    """
    query = filters.query(names) if filters.bounded else filters.query(names, last="24h")
    now = time.time()
    start, end = query.start or 0.0, query.end if query.end is not None else now + 1
    for _ in range(3):
        coarse = max((end - start) / _COARSE, 1.0)
        asked = Filters(filters.kinds, filters.where, None, start, end)
        moments = [t for s in backend.query(asked.query(names, aggregate="count", bucket=coarse)) for t, _ in s.points]
        if not moments:
            return None
        near, far = max(start, min(moments)), min(end, max(moments) + coarse)
        closer = far - near < (end - start) / 4
        start, end = near, far
        if not closer:
            break
    return Span(start, end, bucket_of(end - start))


def bucket_of(seconds: float, bars: int = BARS) -> float:
    """A round length that cuts so many seconds into at most about `bars` buckets."""
    return float(next((step for step in _STEPS if seconds / step <= bars), math.ceil(seconds / bars / 86400) * 86400))
