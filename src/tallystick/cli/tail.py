"""`tallystick tail`: records as they arrive in the database.

Records arrive in batches, not always in the order of their time. So each look goes back `OVERLAP_SECONDS` before the
newest record seen, and what was printed already is passed over by its id. A record that arrives later than that behind
newer ones is not shown; `query` and `export` have it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

import click

from tallystick.backends.base import Backend, Readable
from tallystick.cli.options import filter_options, json_option, where_options
from tallystick.cli.output import json_line
from tallystick.errors import QueryError
from tallystick.pipelines.asking import NothingYet, open_to_read, used
from tallystick.pipelines.summaries import Filters
from tallystick.pipelines.targets import Target, Where, asked_target
from tallystick.records import Record
from tallystick.text import clean, iso, moment, plain_value, quantity, tags_text

OVERLAP_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.5
AT_ONCE: Final = 10_000


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-n", "--lines", type=click.IntRange(0), default=10, show_default=True, help="First the newest so many.")
@click.option("--follow/--no-follow", default=True, help="Go on until stopped. [default: follow]")
@filter_options
@json_option
@where_options
def tail(where: Where, filters: Filters, names: tuple[str, ...], lines: int, follow: bool, as_json: bool) -> None:
    """Print the newest records of NAME (a pattern with * and ? too; without one, all), then those that arrive.

    Ends with Ctrl-C.
    """
    target = asked_target(where)
    try:
        backend = _opened(target, wait=follow)
        if backend is None:
            return
        with used(backend, target.url):
            _tail(readable(backend), filters, names, lines, follow=follow, as_json=as_json)
    except KeyboardInterrupt:
        pass


def _opened(target: Target, *, wait: bool) -> Backend | None:
    """The backend; with `wait`, as soon as there is one."""
    said = False
    while True:
        try:
            return open_to_read(target)
        except NothingYet as nothing:
            if not said:
                click.echo(str(nothing), err=True)
            if not wait:
                return None
            said = True
            time.sleep(LOOK_SECONDS)


def readable(backend: Backend) -> Readable:
    """Raises `QueryError` for a backend that cannot give records back."""
    if not isinstance(backend, Readable):
        raise QueryError(f"{backend.address} cannot give single records back; `tallystick query` asks it for numbers")
    return backend


def _tail(
    backend: Readable, filters: Filters, names: tuple[str, ...], lines: int, *, follow: bool, as_json: bool
) -> None:
    seen: dict[str, int] = {}
    newest = list(backend.records(filters.query(names), newest=lines)) if lines else []
    _print(newest, as_json=as_json)
    _remember(seen, newest)
    since = max((one.timestamp_ns / 1e9 for one in newest), default=time.time())
    began = time.time()
    first = True
    while follow:
        # A record of the future (a clock that is ahead) must not make us look past those of now.
        start = min(since, time.time()) - OVERLAP_SECONDS
        asked = Filters(filters.kinds, filters.where, None, max(start, 0.0), filters.end)
        arrived = [one for one in backend.records(asked.query(names), newest=AT_ONCE) if one.id not in seen]
        _remember(seen, arrived)
        if first and not lines:
            arrived = [one for one in arrived if one.timestamp_ns / 1e9 >= began]
        elif first and newest:
            arrived = [one for one in arrived if one.timestamp_ns >= newest[0].timestamp_ns]
        first = False
        _print(arrived, as_json=as_json)
        since = max([since, *(one.timestamp_ns / 1e9 for one in arrived)])
        for identity in [known for known, at in seen.items() if at / 1e9 < start - OVERLAP_SECONDS]:
            del seen[identity]
        time.sleep(LOOK_SECONDS)


def _remember(seen: dict[str, int], records: Iterable[Record]) -> None:
    seen.update((one.id, one.timestamp_ns) for one in records)


def _print(records: Iterable[Record], *, as_json: bool) -> None:
    for one in records:
        if as_json:
            json_line(document(one))
            continue
        when = click.style(moment(one.timestamp_ns / 1e9), dim=True)
        numeric = isinstance(one.value, int | float) and not isinstance(one.value, bool)
        value = quantity(float(one.value), one.unit, one.kind) if numeric else plain_value(one.value)  # type: ignore[arg-type]
        line = f"{when}  {clean(one.kind):<8} {click.style(clean(one.name), bold=True)}  {value}  {tags_text(one.tags)}"
        click.echo(line.rstrip())


def document(one: Record) -> dict[str, Any]:
    """A record for programs."""
    return {
        "id": one.id,
        "time": iso(one.timestamp_ns),
        "timestamp_ns": one.timestamp_ns,
        "kind": one.kind,
        "name": one.name,
        "value": one.value,
        "unit": one.unit,
        "tags": one.tags,
        "words": one.words,
        "metadata": one.metadata,
        "sample_rate": one.sample_rate,
        "host": one.host,
        "app": one.app,
        "pid": one.pid,
    }
