# ruff: noqa: S608  (pieces of InfluxQL are put together here; every name and text in them is quoted)
"""Whole records from InfluxDB 1 and 2, oldest first.

Each measurement is read in pages by the points' own time, and the measurements are merged. A full page may end among
points of one nanosecond, so its last nanosecond is read again with the next page. The points of one hundredth of a
second are put in the order of their records' time at last.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from tallystick.backends.influxdb.influxql import InfluxqlServer, identifier
from tallystick.backends.influxdb.lines import STEP_NS, to_record
from tallystick.backends.influxdb.query import native, span
from tallystick.queries import Query
from tallystick.records import Record


class _Point(NamedTuple):
    at: int
    measurement: str
    row: dict[str, Any]


def records(server: InfluxqlServer, query: Query, newest: int | None) -> Iterator[Record]:
    source = native(server, query)
    conditions = [*source.conditions, *span(query, source)]
    if newest is not None:
        if newest < 1 or not source.measurements:
            return
        begin = _begin_of_newest(server, source.measurements, conditions, newest)
        if begin is None:
            return
        yield from deque(_read(server, source.measurements, [*conditions, f"time >= {begin}"]), newest)
        return
    yield from _read(server, source.measurements, conditions)


def _begin_of_newest(server: InfluxqlServer, measurements: list[str], conditions: list[str], newest: int) -> int | None:
    """Where the hundredth of a second begins that the oldest of the newest points is in."""
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    times: list[int] = []
    for measurement in measurements:
        select = f'SELECT "timestamp_ns" FROM {identifier(measurement)}{where} ORDER BY time DESC LIMIT {newest}'
        found = [row[0] for rows in server.ask([select])[0] for row in rows.values]
        times = heapq.nlargest(newest, [*times, *found])
    return times[-1] // STEP_NS * STEP_NS if times else None


def _read(server: InfluxqlServer, measurements: list[str], conditions: list[str]) -> Iterator[Record]:
    page = max(100, min(5_000, 50_000 // max(1, len(measurements))))
    streams = [_points(server, measurement, conditions, page) for measurement in measurements]
    merged = heapq.merge(*streams, key=lambda point: point.at)
    for _, points in groupby(merged, lambda point: point.at // STEP_NS):
        found = [to_record(point.measurement, point.at, point.row) for point in points]
        yield from sorted(found, key=lambda record: (record.timestamp_ns, record.header.segment, record.offset))


def _points(server: InfluxqlServer, measurement: str, conditions: list[str], page: int) -> Iterator[_Point]:
    start: int | None = None
    while True:
        where = " AND ".join(conditions if start is None else [*conditions, f"time >= {start}"])
        select = f"SELECT * FROM {identifier(measurement)}{where and f' WHERE {where}'} ORDER BY time LIMIT {page}"
        points = list(_rows(server, select, measurement))
        if len(points) < page:
            yield from points
            return
        end = points[-1].at
        if end == points[0].at:
            page *= 2
        yield from (point for point in points if point.at < end)
        start = end


def _rows(server: InfluxqlServer, select: str, measurement: str) -> Iterator[_Point]:
    for rows in server.ask([select])[0]:
        for cells in rows.values:
            row = {column: cell for column, cell in zip(rows.columns, cells, strict=True) if cell is not None}
            yield _Point(row.pop("time"), measurement, row)


def shaped(server: InfluxqlServer, query: Query, record: Callable[..., Record]) -> Iterator[Record]:
    """The records of all points in the query's time, as a shape other than ours reads them."""
    ends = ((">=", query.start_ns), ("<", query.end_ns))
    bounds = [f"time {sign} {moment}" for sign, moment in ends if moment is not None]
    fields = server.fields()
    streams = [_points(server, measurement, bounds, 5_000) for measurement in sorted(fields)]
    for point in heapq.merge(*streams, key=lambda point: point.at):
        known = fields[point.measurement]
        tags = {key: cell for key, cell in point.row.items() if key not in known}
        values = {key: _typed(cell, known[key]) for key, cell in point.row.items() if key in known}
        yield record(point.measurement, point.at, tags, values)


def _typed(cell: Any, held_as: str) -> Any:
    """JSON has one type of numbers."""
    return float(cell) if held_as == "float" else cell
