"""`tallystick top`: all metrics, live."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tallystick.cli.options import filter_options, json_option, where_options
from tallystick.cli.output import console, json_line, table
from tallystick.cli.tables import NARROW_COLUMNS, bars
from tallystick.pipelines import summaries
from tallystick.pipelines.asking import open_to_read, used
from tallystick.pipelines.summaries import Filters, Summary
from tallystick.pipelines.targets import Where, asked_target
from tallystick.queries import seconds_of
from tallystick.records import COUNTER, GAUGE, TIMING
from tallystick.text import number, quantity, span, tag_text


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--window", default="1m", metavar="SPAN", help="The time that rates are of. [default: 1m]")
@click.option("--refresh", default="2s", metavar="SPAN", help="How often to ask. [default: 2s]")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Ask so often, then end. [default: until stopped]")
@click.option("--by", multiple=True, metavar="TAG", help="Apart by this tag; again for more.")
@click.option("--limit", type=click.IntRange(1), default=40, show_default=True, metavar="N", help="Lines of a kind.")
@filter_options
@json_option
@where_options
def top(
    where: Where,
    filters: Filters,
    names: tuple[str, ...],
    window: str,
    refresh: str,
    count: int | None,
    by: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """Watch metrics live: how many a second, the newest value, and the shape of the last minute.

    NAME may be a pattern with * and ?. Without a terminal it asks once, or --count times. Ends with Ctrl-C.
    """
    if filters.bounded:
        raise click.UsageError("top shows the time up to now; give --window instead of --last, --start and --end")
    window_seconds, refresh_seconds = seconds_of(window, "--window"), seconds_of(refresh, "--refresh")
    watched = sys.stdout.isatty()
    turns = count if count is not None else None if watched else 1
    target = asked_target(where)
    backend = open_to_read(target)
    out = console()
    narrow = out.width < NARROW_COLUMNS
    try:
        with used(backend, target.url), _screen(out, live=watched and not as_json) as draw:
            for _ in _turns(turns, refresh_seconds):
                over = _over(window_seconds, 12 if narrow else summaries.BARS)
                found = summaries.summaries(backend, names, filters, by, over, limit)
                if as_json:
                    json_line({"time": over.end, "window_seconds": window_seconds, "series": _documents(found, over)})
                else:
                    draw(_table(found, over, by, narrow=narrow))
    except KeyboardInterrupt:
        pass


def _turns(turns: int | None, refresh_seconds: float) -> Iterator[None]:
    done = 0
    while turns is None or done < turns:
        if done:
            time.sleep(refresh_seconds)
        done += 1
        yield


@contextmanager
def _screen(out: Console, *, live: bool) -> Iterator[Any]:
    if not live:
        yield out.print
        return
    with Live(
        console=out, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, vertical_overflow="crop"
    ) as screen:
        yield lambda drawn: screen.update(drawn, refresh=True)


def _over(window_seconds: float, bars: int) -> summaries.Span:
    now = time.time()
    return summaries.Span(now - window_seconds, now, summaries.bucket_of(window_seconds, bars))


def _rate(one: Summary, over: summaries.Span) -> float:
    """The sum of a counter, else the number of records, per second."""
    return one.values["sum" if one.kind == COUNTER else "count"] / (over.end - over.start)


def _value(one: Summary) -> tuple[str, float | None]:
    """What the column says, and its number."""
    if one.kind == GAUGE:
        return "last", one.values.get("last")
    if one.kind == TIMING:
        return "mean", one.values.get("mean")
    return ("sum", one.values["sum"]) if one.kind == COUNTER else ("count", one.values["count"])


def _table(found: list[Summary], over: summaries.Span, by: tuple[str, ...], *, narrow: bool) -> Table:
    rows = []
    for one in found:
        what, value = _value(one)
        shown = number(value or 0.0) if what == "count" else quantity(value, one.unit, one.kind)
        rate = quantity(_rate(one, over), one.unit if one.kind == COUNTER else None, COUNTER)
        tags = [tag_text(one.tags.get(tag)) for tag in by]
        kind = [] if narrow else [one.kind]
        rows.append([one.name, *tags, *kind, rate, f"{what} {shown}", bars(one, over)])
    shape = f"last {span(over.end - over.start)}"
    kind = [] if narrow else ["kind"]
    return table(["metric", *by, *kind, "a second", "value", shape], rows, numbers=["a second", "value"])


def _documents(found: list[Summary], over: summaries.Span) -> list[dict[str, Any]]:
    return [
        {
            "kind": one.kind,
            "name": one.name,
            "unit": one.unit,
            "tags": one.tags,
            "per_second": _rate(one, over),
            "values": one.values,
            "points": one.points,
        }
        for one in found
    ]
