"""What is asked (`Query`) and what is answered (`Series`), the same for every backend.

The meaning, which `backends/memory.py` spells out in plain Python and the contract suite holds every backend to:

- A record counts when its name, kind, time and tags fit; time is `start <= t < end`.
- Answers are grouped by name, unit and the tags in `by`; a record without such a tag is in the group of `None`.
  An empty text is a text as any other: `where={"plan": ""}` asks for the tag with it, not for records without the tag.
- `count` counts records of any value; the other aggregates see numbers only (True is 1, False is 0) and pass over
  texts, documents and None. `count`, `sum`, `mean` and `rate` weigh a record by `1 / sample_rate`;
  `min`, `max`, `last` and percentiles do not.
- `rate` is the sum per second: over the bucket, else over the query's range, else over the span of the group's numbers
  (a group whose numbers are all of one moment has no rate, and no point).
- `last` is the value of the newest record; of equally new ones, the largest.
- Sums are doubles: one beyond the largest is infinite (`inf`, `-inf`), and so are a mean and a rate made of it (in
  JSON, which has no such number, null); what is too small for a double is 0. A store that cannot answer so raises
  `QueryError`. Of sums that pass the largest double in both directions nothing is promised.
- Percentiles are of the nearest rank: the smallest value that has at least p % of the values at or below it
  (the inverse of the distribution function, type 1 of Hyndman and Fan, 1996). An engine that estimates says so.
- Buckets are aligned to the epoch. A bucket without records has no point; a group without numbers has no series
  unless the aggregate is `count`.
"""

from __future__ import annotations

import copy
import fnmatch
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from numbers import Integral
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from tallystick.errors import QueryError, RecordError
from tallystick.moments import FOREVER_SECONDS, SECOND_NS, Moment, epoch_seconds, nanoseconds
from tallystick.values import as_bool, as_scalar, lazy_text, shown, tag_text

AGGREGATES: Final = ("count", "sum", "mean", "min", "max", "last", "rate", "p50", "p95", "p99")

T = TypeVar("T")
Span: TypeAlias = str | float | timedelta

_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds_of(span: Span, what: str = "span") -> float:
    """`"90s"`, `"5m"`, `"24h"`, `"7d"`, `"2w"`, a `timedelta` or a number of seconds → seconds.

    Raises `QueryError` for anything else, and for spans that are not positive or longer than 285 years.
    """
    if isinstance(span, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?\s*", span)
        if not match:
            raise QueryError(
                f"{what}: {span!r} is no time span; write a number and a unit, such as 90s, 5m, 24h, 7d;"
                " a number alone is seconds"
            )
        seconds: float | None = float(match[1]) * _UNIT_SECONDS[match[2] or "s"]
    else:
        try:
            seconds = None if as_bool(span) is not None else as_scalar(span, what)
        except RecordError:
            seconds = None
    if seconds is None or not seconds > 0:
        raise QueryError(f"{what}: {shown(span)} is no positive time span; write 90s, 5m, 24h, 7d, or a timedelta")
    if seconds >= FOREVER_SECONDS:
        raise QueryError(f"{what}: {shown(span)} is longer than 285 years; give a shorter span, or none for all time")
    return float(seconds)


def asked(meaning: Callable[[Any, str], T], value: object, what: str) -> T:
    """What a value means in a question, where what has no meaning is a `QueryError`."""
    try:
        return meaning(value, what)
    except RecordError as error:
        raise QueryError(str(error)) from None


@dataclass(frozen=True, init=False)
class Query:
    """A question about recorded values.

    `name` is exact, or a pattern with `*` and `?`, or several of these. `where` maps a tag to the value it must have,
    as it was recorded (`{"status": 200}` asks for the text "200"), or to a list of alternatives. `by` names the tags to
    group by. The time range is `last` (a span up to now, such as `"24h"` or a `timedelta`) or `start` and `end` (epoch
    seconds, ISO 8601 text in UTC, aware datetimes): a record of the start's own moment is in it, one of the end's is
    not; without one, all time. `bucket` is a span (`"5m"`, seconds, a `timedelta`); without one, each series has a
    single point. `limit` keeps the series whose points sum to the most. None is "not given".
    Raises `QueryError` at once for a question that makes no sense.
    """

    names: tuple[str, ...]
    aggregate: str = "sum"
    kinds: tuple[str, ...] = ()
    where: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    bucket_seconds: float | None = None
    limit: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None

    def __init__(
        self,
        name: str | Iterable[str] = "*",
        *,
        aggregate: str = "sum",
        kinds: str | Iterable[str] | None = (),
        where: Mapping[str, object] | None = None,
        by: str | Iterable[str] | None = (),
        last: Span | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        bucket: Span | None = None,
        limit: int | None = None,
    ) -> None:
        if not isinstance(aggregate, str) or aggregate not in AGGREGATES:
            raise QueryError(f"aggregate: {shown(aggregate)} is none of {', '.join(AGGREGATES)}")
        low, high = _moment(start, "start"), _moment(end, "end")
        if last is not None:
            if low is not None or high is not None:
                raise QueryError("last: give either last, or start and end")
            high = time.time_ns()
            low = high - round(seconds_of(last, "last") * SECOND_NS)
        if low is not None and high is not None and low >= high:
            raise QueryError(f"start: {shown(start)} is not before end {shown(end)}")
        object.__setattr__(self, "names", _texts(name, "name"))
        object.__setattr__(self, "aggregate", aggregate)
        object.__setattr__(self, "kinds", _texts(() if kinds is None else kinds, "kinds"))
        object.__setattr__(self, "where", _where(where))
        object.__setattr__(self, "by", _texts(() if by is None else by, "by"))
        object.__setattr__(self, "start_ns", low)
        object.__setattr__(self, "end_ns", high)
        object.__setattr__(self, "start", None if low is None else epoch_seconds(low))
        object.__setattr__(self, "end", None if high is None else epoch_seconds(high))
        object.__setattr__(self, "bucket_seconds", None if bucket is None else seconds_of(bucket, "bucket"))
        object.__setattr__(self, "limit", _whole(limit))
        if not self.names:
            raise QueryError("name: give at least one metric name or pattern")

    def without_limit(self) -> Query:
        """The same question about all series."""
        query = copy.copy(self)
        object.__setattr__(query, "limit", None)
        return query

    @property
    def percentile(self) -> float | None:
        """0.95 for `p95`; None when the aggregate is no percentile."""
        return int(self.aggregate[1:]) / 100 if self.aggregate.startswith("p") else None

    @property
    def bucket_ns(self) -> int | None:
        return None if self.bucket_seconds is None else max(1, round(self.bucket_seconds * 1e9))

    def matches_name(self, name: str) -> bool:
        """Whether a metric's name is asked for. `*` and `?` are the only special characters."""
        return any(
            fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")) if is_pattern(pattern) else name == pattern
            for pattern in self.names
        )


def is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def _moment(moment: Moment | None, what: str) -> int | None:
    return None if moment is None else asked(nanoseconds, moment, what)


def _whole(limit: object) -> int | None:
    if limit is None:
        return None
    if as_bool(limit) is not None or not isinstance(limit, Integral) or limit < 1:
        raise QueryError(f"limit: {shown(limit)} must be a whole number, 1 or more")
    return int(limit)


def _where(where: object) -> dict[str, tuple[str, ...]]:
    if where is None:
        return {}
    if not isinstance(where, Mapping):
        raise QueryError(f"where: {shown(where)} is not a dict; write where={{'plan': 'pro'}}")
    found = {}
    for tag, value in where.items():
        if not isinstance(tag, str):
            raise QueryError(f"where: the tag {shown(tag)} is not a text")
        what = f"where[{tag!r}]"
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
        values = value if several and lazy_text(value) is None else [value]
        found[_decoded(tag, "where")] = tuple(_decoded(asked(tag_text, one, what), what) for one in values)
    return found


def _texts(value: object, what: str) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    for text in texts:
        if not isinstance(text, str):
            raise QueryError(f"{what}: {shown(text)} is not a text")
        if not text:
            raise QueryError(f"{what}: '' is empty, which no record has; give a text, or leave {what} out")
        _decoded(text, what)
    return texts


def _decoded(text: str, what: str) -> str:
    if text.encode("utf-8", "replace").decode() != text:
        raise QueryError(f"{what}: {text!r} has a lone surrogate, which no record has; decode it properly first")
    return text


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: `points` are `(epoch seconds, value)` in order of time.

    A point's time is the start of its bucket; without buckets, the query's start, or 0.0 when it has none.
    """

    name: str
    tags: dict[str, str | None] = {}
    unit: str | None = None
    points: list[tuple[float, float]] = []


def finish(series: Iterable[Series], limit: int | None) -> list[Series]:
    """The order of every answer: by name, tags and unit; or, with a limit, the largest sums of points first."""
    ordered = sorted(
        series, key=lambda s: (s.name, [(k, v is not None, v or "") for k, v in s.tags.items()], s.unit or "")
    )
    if limit is not None:
        ordered.sort(key=lambda s: -sum(value for _, value in s.points))
        ordered = ordered[:limit]
    return ordered
