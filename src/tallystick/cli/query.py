"""`tallystick query`: ask what was recorded, while the application runs or after."""

from __future__ import annotations

import time
from typing import Any, Final

import click
from rich.table import Table

from tallystick.backends.base import Backend, Readable, ReadsForeign
from tallystick.cli.foreign import foreign_of
from tallystick.cli.options import filter_options, json_option, where_options
from tallystick.cli.output import json_document, note, show, table
from tallystick.cli.tables import tables
from tallystick.errors import QueryError
from tallystick.pipelines import summaries
from tallystick.pipelines.asking import NothingYet, open_to_read, used
from tallystick.pipelines.summaries import Filters
from tallystick.pipelines.targets import Target, Where, asked_target
from tallystick.queries import AGGREGATES, Query, Series
from tallystick.records import EVENT
from tallystick.spool.account import account
from tallystick.text import moment, number, plain_value, quantity, span, sparkline, tag_text, tags_text

NEWEST_EVENTS = 5
DAY_SECONDS: Final = 86_400.0


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--aggregate", type=click.Choice(AGGREGATES), help="One number. [default: what suits the kind]")
@click.option("--by", multiple=True, metavar="TAG", help="Apart by this tag; again for more.")
@click.option("--bucket", metavar="SPAN", help="Over time, in steps of so long: 10s, 5m, 1h.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the N largest.")
@click.option("--source", metavar="TABLE", help="Ask data that others wrote: their table, index or collection.")
@click.option("--column", "columns", multiple=True, metavar="PART=COLUMN", help="Where --source keeps time, value, …")
@filter_options
@json_option
@where_options
def query(
    where: Where,
    filters: Filters,
    names: tuple[str, ...],
    aggregate: str | None,
    by: tuple[str, ...],
    bucket: str | None,
    limit: int | None,
    source: str | None,
    columns: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ask what was recorded under NAME: a metric's name, or a pattern with * and ?. Without a name, all.

    Without --aggregate each metric shows what suits its kind and its shape over time, of the last 24 hours.
    With it, one number for each series (of all time, unless a range is given), or with --bucket one for each step.

    --source asks a table, index or collection that another tool wrote. Say where it keeps things with --column:
    time=COLUMN and value=COLUMN, and where it has them name=, kind=, tag.TAG= and time_unit=ns|us|ms|s|iso|native.
    """
    foreign = foreign_of(source, columns)
    target = asked_target(where)
    try:
        backend = open_to_read(target, ours=foreign is None)
    except NothingYet as nothing:
        if as_json:
            json_document({"series": []})
        note(str(nothing))
        return
    with used(backend, target.url):
        if foreign is not None:
            asked = filters.query(names, aggregate=aggregate or "mean", by=by, bucket=bucket, limit=limit)
            if not isinstance(backend, ReadsForeign):
                raise QueryError(f"{backend.address} reads only what tallystick wrote; leave out --source")
            _show_series(target, asked, backend.query_foreign(asked, foreign), as_json=as_json)
        elif aggregate is None and bucket is None:
            _show_summaries(backend, target, names, filters, by, limit, as_json=as_json)
        else:
            asked = filters.query(names, aggregate=aggregate or "sum", by=by, bucket=bucket, limit=limit)
            _show_series(target, asked, backend.query(asked), as_json=as_json)


def _show_summaries(
    backend: Backend,
    target: Target,
    names: tuple[str, ...],
    filters: Filters,
    by: tuple[str, ...],
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    over = summaries.find_span(backend, names, filters)
    found = summaries.summaries(backend, names, filters, by, over, limit) if over else []
    if as_json:
        span_asked = {"start": over.start, "end": over.end} if over else {}
        json_document({"target": target.address, "names": names or ["*"], **span_asked, "series": found})
        return
    if over is None:
        _say_nothing_found(backend, target, names, filters)
        return
    shown = list(tables(found, over))
    if any(one.kind == EVENT for one in found) and isinstance(backend, Readable):
        shown.append(_events(backend, names, filters, over))
    show(*shown)
    note(f"{moment(over.start)} to {moment(over.end)} UTC, {span(over.end - over.start)}")


def _events(backend: Readable, names: tuple[str, ...], filters: Filters, over: summaries.Span) -> Table:
    asked = Filters((EVENT,), filters.where, None, over.start, over.end).query(names)
    rows = [
        [moment(one.timestamp_ns / 1e9), one.name, plain_value(one.value), tags_text(one.tags)]
        for one in backend.records(asked, newest=NEWEST_EVENTS)
    ]
    return table(["newest events", "name", "text", "tags"], rows)


def _show_series(target: Target, asked: Query, found: list[Series], *, as_json: bool) -> None:
    if as_json:
        json_document({"target": target.address, "query": _document(asked), "series": found})
        return
    if not found:
        note(f"No record in {target.address} fits.{_waiting(target, asked.names)}")
        return
    value = asked.aggregate
    if asked.bucket_seconds is None:
        rows = [[one.name, *_tags(one, asked), _value(one.points[0][1], one, value)] for one in found]
        show(table(["name", *asked.by, value], rows, numbers=[value]))
        return
    made = []
    for one in found:
        title = "  ".join(filter(None, [one.name, tags_text(one.tags), sparkline([v for _, v in one.points])]))
        rows = [[moment(start), _value(v, one, value)] for start, v in one.points]
        made.append(table([f"from (UTC), for {span(asked.bucket_seconds)}", value], rows, title=title, numbers=[value]))
    show(*made)


def _value(value: float, one: Series, aggregate: str) -> str:
    if aggregate == "count":
        return number(value)
    per_second = "/s" if aggregate == "rate" else ""
    return quantity(value, one.unit, "") + per_second


def _tags(one: Series, asked: Query) -> list[str]:
    return [tag_text(one.tags.get(tag)) for tag in asked.by]


def _document(asked: Query) -> dict[str, Any]:
    return {
        "names": asked.names,
        "aggregate": asked.aggregate,
        "kinds": asked.kinds,
        "where": asked.where,
        "by": asked.by,
        "start": asked.start,
        "end": asked.end,
        "bucket_seconds": asked.bucket_seconds,
        "limit": asked.limit,
    }


def _say_nothing_found(backend: Backend, target: Target, names: tuple[str, ...], filters: Filters) -> None:
    """Nothing, and where there is something instead."""
    shown = " ".join(names) or "anything"
    text = f"No record of {shown} fits in {target.address}."
    if not filters.bounded:
        text = f"No record of {shown} in the last 24 hours in {target.address}"
        text += _elsewhere(backend, names, filters) or ", nor before, nor later than now."
    note(text + _waiting(target, tuple(names) or ("*",)))


def _elsewhere(backend: Backend, names: tuple[str, ...], filters: Filters) -> str:
    """How many there are at other times, and the options that find them all; empty when there are none.

    In days (UTC): nothing is of the last 24 hours, so what today holds is still to come.
    """
    now, before, later = time.time(), 0.0, 0.0
    days = [day for one in backend.query(filters.query(names, aggregate="count", bucket="1d")) for day in one.points]
    if not days:
        return ""
    for start, count in days:
        if start + DAY_SECONDS > now:
            later += count
        else:
            before += count
    first, last = min(start for start, _ in days), max(start for start, _ in days)
    there = [f"{number(before)} before"] * bool(before) + [f"{number(later)} later than now"] * bool(later)
    options = "--last 30d" if first > now - 29 * DAY_SECONDS else f"--start {_date(first)}"
    if later:
        options = f"--start {_date(first)} --end {_date(last + DAY_SECONDS)}"
    return f", but {' and '.join(there)}: ask with {options}."


def _date(epoch_seconds: float) -> str:
    return moment(epoch_seconds)[:10]


def _waiting(target: Target, names: tuple[str, ...]) -> str:
    """What of it is still on its way."""
    if not target.folder.segments.exists():
        return ""
    asked = Query(names)
    pending = sum(count for name, count in account(target.folder).pending.items() if asked.matches_name(name))
    return f" {number(pending)} wait in the spool: see `tallystick status`." if pending else ""
