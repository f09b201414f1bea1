"""`tallystick setup`, `check`, `indices` and `prune`: looking after the database itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tallystick.agent import report
from tallystick.backends.base import Backend, Managed
from tallystick.cli.app import Failure
from tallystick.cli.options import json_option, where_options, yes_option
from tallystick.cli.output import agreed, json_document, show, table
from tallystick.pipelines.asking import backend_there, used
from tallystick.pipelines.targets import Target, Where, asked_target
from tallystick.queries import seconds_of
from tallystick.text import clean, moment, number, size


@contextmanager
def _managed(where: Where, *, filled: bool = False) -> Iterator[tuple[Target, Managed]]:
    """The backend, not opened: opening may already make what is missing. With `filled` it is an error that a file or
    folder of records is not there."""
    target = asked_target(where)
    backend: Backend = backend_there(target) if filled else target.backend()
    if not isinstance(backend, Managed):
        raise Failure(f"{backend.address} needs no looking after by us: it has no setup, check, indices or prune")
    with used(backend, target.url):
        yield target, backend


@click.command()
@json_option
@where_options
def setup(where: Where, as_json: bool) -> None:
    """Make or upgrade what the records need in the database. Doing it again changes nothing."""
    with _managed(where) as (target, backend):
        if target.url is None:
            target.folder.open()
        done = backend.setup()
    if as_json:
        json_document({"target": target.address, "done": done})
        return
    for sentence in done:
        click.echo(clean(sentence))
    if not done:
        click.echo(f"{target.address}: nothing was missing")
        if script := _wanted(target):
            click.echo("\n".join(["what an administrator has to run for the agent's user:", *map(clean, script)]))


def _wanted(target: Target) -> list[str]:
    """The script for a right that the agent lacks, and that setting up does not need."""
    beat = report.read(target.folder)
    if beat is None or not beat.action_needed or beat.target != target.address:
        return []
    return beat.last_error.partition(":\n")[2].splitlines()


@click.command()
@json_option
@where_options
def check(where: Where, as_json: bool) -> None:
    """Say whether the database is as it should be, without changing it. Exits with 1 when it is not."""
    with _managed(where) as (target, backend):
        lines = backend.check()
    if as_json:
        json_document({"target": target.address, "ok": all(line.ok for line in lines), "lines": lines})
    else:
        for line in lines:
            mark = click.style("ok  ", fg="green") if line.ok else click.style("fail", fg="red")
            click.echo(f"{mark}  {clean(line.what)}{f': {clean(line.remedy)}' if line.remedy else ''}")
    if not all(line.ok for line in lines):
        raise SystemExit(1)


@click.command()
@json_option
@where_options
def indices(where: Where, as_json: bool) -> None:
    """List what holds the records (tables, indices, files), and how large it is."""
    with _managed(where, filled=True) as (target, backend):
        found = backend.indices()
    if as_json:
        json_document({"target": target.address, "indices": found})
        return
    rows = [
        [
            str(one.get("name")),
            _or_dash(one.get("records"), number),
            _or_dash(one.get("size_bytes"), size),
            _or_dash(one.get("oldest"), moment),
            _or_dash(one.get("newest"), moment),
        ]
        for one in found
    ]
    show(table(["name", "records", "size", "oldest (UTC)", "newest (UTC)"], rows, numbers=["records", "size"]))


def _or_dash(value: object, shown: object) -> str:
    return "–" if value is None or not callable(shown) else str(shown(value))


@click.command()
@click.option("--older-than", metavar="SPAN", help="Such as 90d. [default: the setting retention_days]")
@yes_option
@json_option
@where_options
def prune(where: Where, older_than: str | None, yes: bool, as_json: bool) -> None:
    """Forget the records that are older than --older-than."""
    days = where.settings().retention_days
    if older_than is None and days is None:
        raise click.UsageError("say --older-than SPAN, such as 90d: the setting retention_days is not set")
    age_seconds = seconds_of(older_than, "--older-than") if older_than else (days or 0) * 86_400.0
    before = time.time() - age_seconds
    with _managed(where, filled=True) as (target, backend):
        if not yes:
            agreed(f"Forget the records of {target.address} before {moment(before)} UTC?")
        gone = backend.prune(before)
    if as_json:
        json_document({"target": target.address, "before": before, "forgotten": gone})
    else:
        click.echo(f"{target.address}: {number(gone)} records from before {moment(before)} UTC forgotten")
