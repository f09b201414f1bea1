"""Summaries as tables: one for each kind, with the shape over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.table import Table

from tallystick.cli.output import console, table
from tallystick.pipelines.summaries import AGGREGATES, SHAPE, Span, Summary
from tallystick.records import GAUGE, TIMING
from tallystick.text import number, quantity, span, sparkline, tag_text

_NARROW: Final = {GAUGE: ("last", "min", "max"), TIMING: ("count", "mean", "p95")}
NARROW_COLUMNS: Final = 100


def tables(found: list[Summary], over: Span) -> Iterator[Table]:
    """A table for each kind, with the shape over time; a narrow terminal gets the first things only."""
    narrow = console().width < NARROW_COLUMNS
    for kind, everything in AGGREGATES.items():
        aggregates = _NARROW.get(kind, everything) if narrow else everything
        rows = [one for one in found if one.kind == kind]
        if not rows:
            continue
        tags = list(dict.fromkeys(tag for one in rows for tag in one.tags))
        shape = f"{SHAPE.get(kind, 'count')} every {span(over.bucket_seconds)}"
        with_shape = any(one.points for one in rows)
        yield table(
            [kind, *tags, *aggregates, *([shape] if with_shape else [])],
            [
                [one.name, *(tag_text(one.tags.get(tag)) for tag in tags), *_cells(one, aggregates), bars(one, over)]
                for one in rows
            ]
            if with_shape
            else [[one.name, *(tag_text(one.tags.get(tag)) for tag in tags), *_cells(one, aggregates)] for one in rows],
            numbers=aggregates,
        )


def _cells(one: Summary, aggregates: tuple[str, ...]) -> list[str]:
    return [
        number(one.values.get(aggregate, 0.0))
        if aggregate == "count"
        else quantity(one.values.get(aggregate), one.unit, one.kind)
        for aggregate in aggregates
    ]


def bars(one: Summary, over: Span) -> str:
    """A bucket without records is a gap, but for counts and sums, where it is nothing."""
    known = {round(start / over.bucket_seconds): value for start, value in one.points}
    empty = None if one.kind in (GAUGE, TIMING) else 0.0
    return sparkline([known.get(round(start / over.bucket_seconds), empty) for start in over.buckets()])
