# ruff: noqa: S608  (pieces of InfluxQL are put together here; every name and text in them is quoted)
"""A `Query` as InfluxQL: the server does the counting, for versions 1 and 2 alike.

What is done on this side: choosing measurements by name, and putting together the few sums of one group that differ in
the sample rate (a tag, by which the server groups, too).

- A range that does not begin or end at a whole hundredth of a second is cut exactly by the field `timestamp_ns`.
- InfluxQL's `percentile` rounds to the nearest place, and the nearest rank rounds up. Of n values in order, place
  n * p / 100 is one too low when its fraction is above 0 and below a half; asking for p + d instead, with d anywhere
  from 50 / n to 100 / n (but no more than 100), is right then. One d is right for all n from 2**j up to 2**(j + 1).
- `last` is two questions: for each point the newest time, and the largest value of that time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from tallystick.backends.influxdb.influxql import InfluxqlServer, Rows, identifier, literal
from tallystick.backends.influxdb.lines import EARLIEST_NS, LATEST_NS, STEP_NS
from tallystick.backends.influxdb.text import decoded, tag_to_key, tag_to_value, value_to_tag
from tallystick.errors import QueryError
from tallystick.queries import Query, Series, finish

_A_CALL: Final = 50
"""So many statements, or conditions in one of them, go in one call."""

Group = tuple[str, str | None, tuple[str | None, ...]]
"""A series of the answer: name, unit, values of the tags in `by`."""

Cells = list[Any]
Found = dict[Group, dict[int, list[tuple[float, Cells]]]]
"""By group and by the start of a point in nanoseconds: weight and cells (the last is the server's time), once for each
sample rate."""


class Source(msgspec.Struct, frozen=True):
    """What is asked: names as the server has them. `moment` is the field with a record's time, when that is not the
    point's own. `own` are the tags of ours that the server groups by; none when names and tags are those of others, and
    so not encoded."""

    measurements: list[str]
    conditions: list[str]
    by: list[str]
    value: str = "value"
    counted: str = "timestamp_ns"
    moment: str | None = "timestamp_ns"
    name_tag: str | None = None
    own: tuple[str, ...] = ("unit", "rate")

    @property
    def numbers(self) -> str:
        """The condition that a point has a number."""
        return f"({identifier(self.value)} >= 0 OR {identifier(self.value)} < 0)"

    @property
    def dimensions(self) -> list[str]:
        """The tags that the server groups by."""
        return [*self.own, *([self.name_tag] if self.name_tag else ()), *self.by]

    @property
    def unweighted(self) -> Source:
        """The same without regard to sample rates."""
        return msgspec.structs.replace(self, own=tuple(tag for tag in self.own if tag != "rate"))


def native(server: InfluxqlServer, query: Query) -> Source:
    """Our own points, which all have a kind. What others wrote to the same database is left alone."""
    ours = [name for name, fields in server.fields().items() if fields.get("timestamp_ns") == "integer"]
    measurements = [name for name in ours if query.matches_name(decoded(name))]
    try:
        conditions = [one_of(tag_to_key(tag), map(value_to_tag, values)) for tag, values in query.where.items()]
        conditions.append(one_of("kind", map(value_to_tag, query.kinds)) if query.kinds else "\"kind\" != ''")
        return Source(measurements, conditions, list(map(tag_to_key, query.by)))
    except ValueError as error:
        raise QueryError(f"{error}; no record has such a name or tag") from None


def answer(server: InfluxqlServer, query: Query, source: Source) -> list[Series]:
    if source.moment is not None and query.bucket_ns is not None and query.bucket_ns % STEP_NS:
        raise QueryError(f"bucket: {query.bucket_seconds} s; InfluxDB takes whole hundredths of a second")
    by_group: dict[Group, list[tuple[float, float]]] = defaultdict(list)
    for group, start, value in _points(server, query, source):
        moment = (query.start or 0.0) if query.bucket_ns is None else start / 1e9
        by_group[group].append((moment, float(value)))
    return finish(
        (
            Series(name=name, unit=unit, tags=dict(zip(query.by, tags, strict=True)), points=sorted(points))
            for (name, unit, tags), points in by_group.items()
        ),
        query.limit,
    )


def _points(server: InfluxqlServer, query: Query, source: Source) -> Iterator[tuple[Group, int, float]]:
    """The value of each point of each group, where there is one."""
    if query.percentile is not None:
        yield from _percentiles(server, query, source.unweighted)
    elif query.aggregate == "last":
        yield from _last(server, query, source.unweighted)
    else:
        value, moment = identifier(source.value), identifier(source.moment or "")
        conditions: tuple[str, ...] = ()
        select = {
            "count": f"count({identifier(source.counted)})",
            "mean": f"sum({value}), count({value})",
            "rate": f"sum({value})",
        }.get(query.aggregate, f"{query.aggregate}({value})")
        if query.aggregate == "rate" and _seconds(query) is None:
            if source.moment is None:
                yield from _rate_by_points(server, query, source)
                return
            select, conditions = f"{select}, min({moment}), max({moment})", (source.numbers,)
        for group, points in collect(server, query, source, select, conditions).items():
            for start, parts in points.items():
                result = _whole(query, parts)
                if result is not None:
                    yield group, start, result


def _rate_by_points(server: InfluxqlServer, query: Query, source: Source) -> Iterator[tuple[Group, int, float]]:
    """The sum over the span of the points' own times, which the server tells for the first and the last one."""
    value = identifier(source.value)
    total, first, last = (
        collect(server, query, source, f"{aggregate}({value})") for aggregate in ("sum", "first", "last")
    )
    for group in total.keys() & first.keys() & last.keys():
        seconds = (last[group][0][0][1][-1] - first[group][0][0][1][-1]) / 1e9
        if seconds:
            yield group, 0, total[group][0][0][1][0] / seconds


def _seconds(query: Query) -> float | None:
    """What a rate is over, when the question says so."""
    if query.bucket_ns is not None:
        return query.bucket_ns / 1e9
    if query.start is not None and query.end is not None:
        return query.end - query.start
    return None


def _whole(query: Query, parts: list[tuple[float, Cells]]) -> float | None:
    """One value from those of each sample rate."""
    total = math.fsum(weight * cells[0] for weight, cells in parts)
    match query.aggregate:
        case "min":
            return min(cells[0] for _, cells in parts)  # type: ignore[no-any-return]
        case "max":
            return max(cells[0] for _, cells in parts)  # type: ignore[no-any-return]
        case "mean":
            return total / math.fsum(weight * cells[1] for weight, cells in parts)
        case "rate":
            seconds = _seconds(query)
            if seconds is None:
                seconds = (max(cells[2] for _, cells in parts) - min(cells[1] for _, cells in parts)) / 1e9
            return total / seconds if seconds else None
    return total


def _percentiles(server: InfluxqlServer, query: Query, source: Source) -> Iterator[tuple[Group, int, float]]:
    percent = round((query.percentile or 0) * 100)
    value = identifier(source.value)
    first = collect(server, query, source, f"percentile({value}, {percent}), count({value})")
    counts = {(group, start): parts[0][1][1] for group, points in first.items() for start, parts in points.items()}
    doublings = sorted({count.bit_length() - 1 for count in counts.values() if 0 < count * percent % 100 < 50})
    others = [min(percent + 50 / 2**doubling, 100) for doubling in doublings]
    second: Found = {}
    if others:
        select = ", ".join(f"percentile({value}, {other!r})" for other in others)
        second = collect(server, query, source, select)
    for (group, start), count in counts.items():
        if 0 < count * percent % 100 < 50:
            cell = second.get(group, {}).get(start, [(1.0, [None] * len(others))])[0][1]
            number = cell[doublings.index(count.bit_length() - 1)]
        else:
            number = first[group][start][0][1][0]
        if number is not None:  # a point that was deleted between the two questions
            yield group, start, float(number)


def _last(server: InfluxqlServer, query: Query, source: Source) -> Iterator[tuple[Group, int, float]]:
    value = identifier(source.value)
    if source.moment is None:  # the server's own `last`, which takes the largest of equally new ones
        for group, points in collect(server, query, source, f"last({value})").items():
            yield from ((group, start, float(parts[0][1][0])) for start, parts in points.items())
        return
    found = collect(server, query, source, f"max({identifier(source.moment)})", (source.numbers,))
    newest = {(group, start): parts[0][1][0] for group, points in found.items() for start, parts in points.items()}
    by_start: dict[int, set[int]] = defaultdict(set)
    for (_, start), moment in newest.items():
        by_start[start].add(moment)
    values: dict[tuple[Group, int, int], float] = {}
    # No two times of a point go in one statement, so that what is answered for the point is of one of them.
    for turn in range(max(map(len, by_start.values()), default=0)):
        moments = {start: sorted(those)[turn] for start, those in sorted(by_start.items()) if turn < len(those)}
        for some in _slices(list(moments.items()), _A_CALL):
            times = [moment for _, moment in some]
            one_of = " OR ".join(f"{identifier(source.moment)} = {moment}" for moment in times)
            low, high = min(times) // STEP_NS * STEP_NS, max(times) // STEP_NS * STEP_NS + STEP_NS
            conditions = (f"({one_of})", f"time >= {low}", f"time < {high}")
            for group, points in collect(server, query, source, f"max({value})", conditions).items():
                values.update(((group, start, moments[start]), p[0][1][0]) for start, p in points.items())
    for (group, start), moment in newest.items():
        if (group, start, moment) in values:
            yield group, start, float(values[group, start, moment])


def collect(server: InfluxqlServer, query: Query, source: Source, select: str, conditions: Iterable[str] = ()) -> Found:
    """Ask, and sort what is answered by group and point."""
    found: Found = defaultdict(lambda: defaultdict(list))
    bounds, bucket = span(query, source), query.bucket_ns
    where = " AND ".join([*source.conditions, *conditions, *bounds])
    dimensions = [*([] if bucket is None else [f"time({bucket}ns)"]), *map(identifier, source.dimensions)]
    statements = [
        f"SELECT {select} FROM {', '.join(map(identifier, names))}"
        + (f" WHERE {where}" if where else "")
        + (f" GROUP BY {', '.join(dimensions)}" if dimensions else "")
        + (" fill(none)" if bucket is not None else "")
        for names in _slices(source.measurements, _A_CALL)
    ]
    for some in _slices(statements, _A_CALL):
        for answered in server.ask(some):
            for rows in answered:
                group, weight = _group(rows, source)
                for moment, *cells in rows.values:
                    cells.append(moment)
                    if cells[0] is not None:
                        found[group][0 if bucket is None else moment].append((weight, cells))
    return found


def _group(rows: Rows, source: Source) -> tuple[Group, float]:
    def read(tag: str) -> str | None:
        value = rows.tags.get(tag)
        return (tag_to_value(value) if source.own else value) if value else None

    by = tuple(map(read, source.by))
    if not source.own:
        return (rows.tags.get(source.name_tag, "") if source.name_tag else rows.name, None, by), 1.0
    rate = read("rate")
    return (decoded(rows.name), read("unit"), by), 1 / float(rate) if rate else 1.0


def span(query: Query, source: Source) -> list[str]:
    """The conditions on time; with buckets there are always both, since the server else ends at its own now."""
    start, end = query.start_ns, query.end_ns
    conditions = []
    if source.moment is not None:
        field = identifier(source.moment)
        if start is not None and start % STEP_NS:
            conditions.append(f"{field} >= {_in_range(start)}")
            start -= start % STEP_NS
        if end is not None and end % STEP_NS:
            conditions.append(f"{field} < {_in_range(end)}")
            end += -end % STEP_NS
    if start is not None or query.bucket_ns is not None:
        conditions.append(f"time >= {_in_range(EARLIEST_NS if start is None else start)}")
    if end is not None:
        conditions.append(f"time < {_in_range(end)}")
    elif query.bucket_ns is not None:
        conditions.append(f"time <= {LATEST_NS}")
    return conditions


def _in_range(moment_ns: int) -> int:
    return min(max(moment_ns, EARLIEST_NS), LATEST_NS)


def one_of(tag: str, values: Iterable[str]) -> str:
    return "(" + " OR ".join(f"{identifier(tag)} = {literal(value)}" for value in values) + ")"


def _slices(items: Sequence[Any], size: int) -> Iterator[Any]:
    return (items[at : at + size] for at in range(0, len(items), size))
