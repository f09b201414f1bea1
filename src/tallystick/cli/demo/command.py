"""The command: starts the shop in a process of its own, lets visitors in, samples the host, and shows what was kept."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.cli.app import Failure
from tallystick.cli.demo.host import Host
from tallystick.cli.demo.visitors import Visitors
from tallystick.cli.options import Seconds, json_option, where_options
from tallystick.cli.output import json_document, show
from tallystick.cli.tables import tables
from tallystick.masking import mask_url
from tallystick.pipelines import summaries
from tallystick.pipelines.summaries import Filters
from tallystick.pipelines.targets import Target, Where, chosen_pipeline, target_of
from tallystick.places import default_home
from tallystick.recorder.metrics import Metrics
from tallystick.settings import load_settings
from tallystick.spool.account import Account, account
from tallystick.spool.folder import Folder
from tallystick.text import number, span

PIPELINE: Final = "demo"
SAMPLE_SECONDS: Final = 0.5
START_SECONDS: Final = 15.0
DELIVERY_SECONDS: Final = 15.0


@click.command()
@click.option("--seconds", type=Seconds(1, 86_400), default=30.0, show_default=True, help="How long to record.")
@json_option
@where_options
def demo(where: Where, seconds: float, as_json: bool) -> None:
    """Record real input for half a minute and show what came of it.

    The input is this machine (processor, memory, disk, network) and a small web shop, which runs as a process of its
    own on 127.0.0.1 and which visitors call over HTTP. Two processes record; one of them delivers, by election.

    The records go to a pipeline of their own, `demo`, with a SQLite file in its folder, or to --backend. Ctrl-C ends it
    early. Doing it again adds to what is there.
    """
    own = load_settings(home=where.home)
    pipeline = where.pipeline or (chosen_pipeline(where, own) if where.backend else PIPELINE)
    folder = Folder(own.home, pipeline)
    url = where.backend or f"sqlite:///{quote(str(folder.database.absolute()))}"
    with Metrics(url, home=own.home, pipeline=pipeline, app="demo", deliver="thread") as metrics:
        host = Host(metrics, str(folder.path))
        began = time.time()
        with _shop(own.home, pipeline, url) as address:
            visitors = Visitors(address)
            try:
                _record(host, visitors, seconds, quiet=as_json)
            except KeyboardInterrupt:
                pass
            finally:
                visitors.leave()
        metrics.flush(DELIVERY_SECONDS)
        books = _delivered(folder)
        prefix = f"{metrics.settings.namespace}." if metrics.settings.namespace else ""
    over = summaries.Span(began, time.time(), summaries.bucket_of(time.time() - began))
    done = Done(where, folder, prefix, over, visitors, books)
    found = _summaries(done)
    if as_json:
        json_document(_document(done, found))
    else:
        show(*tables(found, over))
        _say(done)


class Done(NamedTuple):
    """What there is to tell of. `prefix` is what the settings' namespace puts before each name."""

    where: Where
    folder: Folder
    prefix: str
    over: summaries.Span
    visitors: Visitors
    books: Account

    @property
    def target(self) -> Target:
        return target_of(self.folder, load_settings(home=self.where.home), self.where.backend)


@contextmanager
def _shop(home: Path, pipeline: str, url: str) -> Iterator[str]:
    """The shop's address. It ends with us, however we end: its standard input is a pipe from here."""
    settings = {"TALLYSTICK_HOME": str(home), "TALLYSTICK_PIPELINE": pipeline, "TALLYSTICK_BACKEND": url}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tallystick.cli.demo.shop", "--port", "0", "--stop-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **settings},
        text=True,
        start_new_session=True,  # Ctrl-C is for us; the shop ends after the visitors have gone
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            raise Failure(f"the shop did not start (exit code {process.wait(START_SECONDS)}); its message is above")
        yield address
    finally:
        process.stdin.close()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _record(host: Host, visitors: Visitors, seconds: float, *, quiet: bool) -> None:
    """Sample until the time is over, with a progress bar where somebody looks."""
    began = time.monotonic()
    columns = (
        TextColumn("recording"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[requests]} requests"),
    )
    looked_at = sys.stderr.isatty() and not quiet
    with Progress(*columns, console=Console(stderr=True), disable=not looked_at, transient=True) as progress:
        if not looked_at and not quiet:
            click.echo(f"recording for {span(seconds)}", err=True)
        task = progress.add_task("", total=seconds, requests="0")
        while (past := time.monotonic() - began) < seconds:
            host.sample()
            progress.update(task, completed=past, requests=number(visitors.answers.total()))
            time.sleep(min(SAMPLE_SECONDS, seconds - past))


def _delivered(folder: Folder) -> Account:
    """The books, when nothing is pending any more, or after some seconds of waiting for that."""
    deadline = time.monotonic() + DELIVERY_SECONDS
    while (books := account(folder)).pending and time.monotonic() < deadline:
        time.sleep(0.05)
    return books


def _summaries(done: Done) -> list[summaries.Summary]:
    """What the database says of it: the host, the requests by route, and the rest of the shop."""
    backend = done.target.backend()
    backend.open()
    asked = {
        ("host.*",): (),
        ("shop.request",): ("route",),
        ("shop.sale", "shop.revenue", "shop.stock", "shop.sold_out"): (),
    }
    try:
        return [
            found
            for names, by in asked.items()
            for found in summaries.summaries(backend, tuple(done.prefix + n for n in names), Filters(), by, done.over)
        ]
    finally:
        backend.close()


def _say(done: Done) -> None:
    kept = done.folder.database if done.folder.database.exists() else done.target.address
    requests, seconds = number(done.visitors.answers.total()), span(done.over.end - done.over.start)
    click.echo(f"\n{requests} requests in {seconds}. Every record is kept in\n\n  {kept}\n")
    click.echo(f"The books of the pipeline {click.style(done.folder.name, bold=True)}:\n\n  {done.books.line()}\n")
    click.echo("Try next:\n")
    for command in _commands(done):
        click.echo(f"  {command}")


def _document(done: Done, found: list[summaries.Summary]) -> dict[str, Any]:
    return {
        "seconds": done.over.end - done.over.start,
        "requests": done.visitors.answers.total(),
        "answers": {str(status): count for status, count in done.visitors.answers.items()},
        "target": done.target.address,
        "line": done.books.line(),
        "balanced": not done.books.imbalance(),
        "series": msgspec.to_builtins(found),
        "commands": _commands(done),
    }


def _commands(done: Done) -> list[str]:
    """Three to try next, which work as they stand: called as we were, with the home and the backend that we used."""
    backend = done.where.backend
    given = ["--pipeline", done.folder.name]
    if done.folder.home != default_home():
        given += ["--home", str(done.folder.home)]
    reading = [*given, *(["--backend", mask_url(backend)] if backend else [])]
    return [
        f"{program()} {shlex.join(words)}"
        for words in (
            ["query", f"{done.prefix}shop.request", "--by", "route", *reading],
            ["status", *given],
            ["export", f"{done.prefix}shop.sale", *reading],
        )
    ]


def program() -> str:
    """How this command can be called again from here: its name where that is found, else its path."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m tallystick"
    found = shutil.which("tallystick")
    if found and called.exists() and os.path.samefile(found, called):
        return "tallystick"
    return shlex.quote(min(os.path.relpath(called), str(called), key=len))
