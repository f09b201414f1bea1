"""`tallystick dead`: records that a database rejected, and damaged lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
import msgspec

from tallystick.agent.election import somebody_delivers
from tallystick.cli.app import AskedWrong, Group
from tallystick.cli.options import json_option, where_options, yes_option
from tallystick.cli.output import agreed, fact, json_document, note, show, table
from tallystick.cli.tail import document
from tallystick.pipelines.targets import Where, targets
from tallystick.spool.dead import DeadLetter, DeadLetters
from tallystick.spool.folder import Folder
from tallystick.text import clean, moment, number


class Found(msgspec.Struct, frozen=True):
    """A dead letter and where it lies. `asked` tells that a retry was asked for and has not happened yet."""

    folder: Folder
    letter: DeadLetter
    asked: bool

    @property
    def readable(self) -> bool:
        return bool(self.letter.batch().records)


@click.group(cls=Group)
def dead() -> None:
    """Dead letters: list, show, retry or drop them.

    A record becomes a dead letter when the database rejects it, or when its line in the spool is damaged. It is kept
    with the reason, the time and its original bytes until somebody retries or drops it.
    """


@dead.command("list")
@click.option("--reason", metavar="TEXT", help="Only those whose reason holds this text.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="The newest so many.")
@json_option
@where_options
def dead_list(where: Where, reason: str | None, limit: int, as_json: bool) -> None:
    """The dead letters of every pipeline, the newest last."""
    found = sorted(_matching(where, reason), key=lambda one: one.letter.time)
    shown = found[-limit:]
    if as_json:
        json_document([_document(one) for one in shown])
        return
    if not found:
        click.echo("No dead letters." if reason is None else "No dead letters with such a reason.")
        return
    rows = [
        [_when(one), one.folder.name, one.letter.name or "damaged line", one.letter.reason, one.letter.id]
        for one in shown
    ]
    show(table(["time (UTC)", "pipeline", "name", "reason", "id"], rows))
    more = f" of {number(len(found))}" if len(shown) < len(found) else ""
    note(f"{number(len(shown))}{more}; `tallystick dead show ID` has all of one")


def _when(one: Found) -> str:
    return moment(one.letter.time)[:19] + (" (retry asked for)" if one.asked else "")


@dead.command("show")
@click.argument("id")
@json_option
@where_options
def dead_show(where: Where, id: str, as_json: bool) -> None:
    """All of one dead letter: the record, the reason, the original line. The start of the id will do."""
    (one,) = _by_id(where, [id])
    if as_json:
        json_document(_document(one))
        return
    letter = one.letter
    click.echo(click.style(letter.id, bold=True))
    fact("pipeline", one.folder.name)
    fact("since", f"{moment(letter.time)} UTC{', retry asked for' if one.asked else ''}")
    fact("reason", letter.reason)
    fact("from", f"{letter.header.app or '–'}, pid {letter.header.pid} on {letter.header.host or '–'}")
    fact("line", repr(letter.raw)[1:] if letter.encoding == "base64" else letter.line)
    for record in letter.batch().records:
        click.echo(msgspec.json.format(msgspec.json.encode(document(record)), indent=2).decode())


@dead.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--reason", metavar="TEXT", help="Those whose reason holds this text.")
@json_option
@where_options
def dead_retry(where: Where, ids: tuple[str, ...], everything: bool, reason: str | None, as_json: bool) -> None:
    """Have dead letters delivered again, when the cause is mended. The agent does it, now or when it starts.

    Delivering again what the database took after all does no harm: it is one row all the same.
    """
    found = _chosen(where, ids, everything, reason)
    useless = [one for one in found if not one.readable]
    again = [one for one in found if one.readable]
    _change(again, DeadLetters.retry)
    waiting = sorted({one.folder.name for one in again if not somebody_delivers(one.folder)})
    if as_json:
        json_document({"retried": _ids(again), "unreadable": _ids(useless), "nobody_delivers": waiting})
    else:
        click.echo(f"{number(len(again))} to be delivered again; `tallystick dead list` shows what comes back")
        if useless:
            click.echo(f"{number(len(useless))} are damaged lines, which nothing can deliver; drop them")
        for name in waiting:
            click.echo(f"nobody delivers {name}; {_remedy(where, name)}")
    if useless and not again:
        raise SystemExit(1)


def _remedy(where: Where, name: str) -> str:
    """Who could deliver a pipeline that nobody delivers at the moment."""
    (target,) = targets(Where(where.home, name))  # what is to be run has no --backend
    if target.unknown:
        return f"its application does when it runs again: {target.unknown}"
    return f"run `tallystick agent --once --pipeline {name}`"


@dead.command("drop")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--reason", metavar="TEXT", help="Those whose reason holds this text.")
@yes_option
@json_option
@where_options
def dead_drop(
    where: Where, ids: tuple[str, ...], everything: bool, reason: str | None, yes: bool, as_json: bool
) -> None:
    """Give dead letters up for good. They are counted as dropped."""
    found = _chosen(where, ids, everything, reason)
    if found and not yes:
        agreed(f"Give up {number(len(found))} dead letters for good?")
    _change(found, DeadLetters.drop)
    if as_json:
        json_document({"dropped": _ids(found)})
    else:
        click.echo(f"{number(len(found))} dropped")


def _chosen(where: Where, ids: tuple[str, ...], everything: bool, reason: str | None) -> list[Found]:
    if bool(ids) + everything + (reason is not None) != 1:
        raise click.UsageError("name the dead letters by ID, by --reason TEXT, or --all of them")
    return _by_id(where, ids) if ids else _matching(where, reason)


def _matching(where: Where, reason: str | None) -> list[Found]:
    found = []
    for target in targets(where):
        state = DeadLetters(target.folder).state()
        found += [
            Found(target.folder, letter, letter.id in state.retry)
            for letter in state.letters.values()
            if reason is None or reason in letter.reason
        ]
    return found


def _by_id(where: Where, ids: Iterable[str]) -> list[Found]:
    """Each id, or the start of one, is one dead letter. Raises `AskedWrong` when it is none or several."""
    everything = _matching(where, None)
    chosen = []
    for asked in dict.fromkeys(ids):
        found = [one for one in everything if one.letter.id == asked]
        found = found or [one for one in everything if one.letter.id.startswith(asked)]
        if len(found) != 1:
            what = "no dead letter has" if not found else f"{number(len(found))} dead letters have"
            raise AskedWrong(f"{what} an id that begins with {clean(asked)}; `tallystick dead list` shows them")
        chosen += found
    return chosen


def _change(found: list[Found], change: Callable[[DeadLetters, Iterable[str]], None]) -> None:
    by_folder: dict[str, list[Found]] = {}
    for one in found:
        by_folder.setdefault(one.folder.name, []).append(one)
    for group in by_folder.values():
        letters = DeadLetters(group[0].folder)
        change(letters, _ids(group))
        letters.sync()


def _ids(found: list[Found]) -> list[str]:
    return [one.letter.id for one in found]


def _document(one: Found) -> dict[str, Any]:
    letter = one.letter
    records = letter.batch().records
    return {
        "id": letter.id,
        "pipeline": one.folder.name,
        "time": letter.time,
        "name": letter.name,
        "reason": letter.reason,
        "retry_asked": one.asked,
        "line": letter.line,
        "encoding": letter.encoding,
        "header": letter.header,
        "record": document(records[0]) if records else None,
    }
