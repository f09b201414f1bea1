"""`tallystick status`: every pipeline of the home, and `--check` for whoever watches."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

import click
import msgspec

from tallystick.cli.options import json_option, where_options
from tallystick.cli.output import fact, json_document, note
from tallystick.errors import SpoolError
from tallystick.pipelines.health import Health, health
from tallystick.pipelines.targets import Target, Where, targets
from tallystick.queries import seconds_of
from tallystick.text import clean, number, size, span

TOP: Final = 5


@click.command()
@click.option("--check", is_flag=True, help="Say only what is wrong, and exit with 1 when something is.")
@click.option("--max-age", default="60s", metavar="SPAN", help="--check: records may wait so long. [default: 60s]")
@json_option
@where_options
def status(where: Where, check: bool, max_age: str, as_json: bool) -> None:
    """Every pipeline: its target, its books, and who delivers.

    The books of a pipeline say what became of every record: accepted = delivered + pending + dead + dropped.

    --check exits with 1 when a pipeline does not move although its spool is not empty (its oldest record waits
    longer than --max-age, and nothing was delivered for as long), when books do not balance, or when a spool file
    cannot be read by this version. What was dropped for want of room it says on standard error. A pipeline whose
    files cannot be read at all makes it 1 without --check, too.
    """
    max_age_seconds = seconds_of(max_age, "--max-age")
    home = where.settings().home
    found: list[Health | Unusable] = [_looked(target) for target in targets(where, broken=True)]
    findings = {one.target.name: one.findings(max_age_seconds) for one in found}
    if as_json:
        documents = [{**_document(one), "findings": findings[one.target.name]} for one in found]
        json_document({"home": str(home), "ok": not any(findings.values()), "pipelines": documents})
    elif check:
        for name, reasons in findings.items():
            for reason in reasons:
                click.echo(f"{name}: {clean(reason)}")
        for one in found:
            if isinstance(one, Health) and (lost := one.lost()):
                note(f"{one.target.name}: {lost}")
        if not any(findings.values()):
            click.echo(f"ok: {number(len(found))} pipeline{'s' * (len(found) != 1)}")
    elif not found:
        click.echo(f"Nothing was recorded in {home} yet. Try: tallystick send increment hello")
    else:
        for one in found:
            _show(one, findings[one.target.name])
    if (check and any(findings.values())) or any(isinstance(one, Unusable) for one in found):
        raise SystemExit(1)


class Unusable(msgspec.Struct, frozen=True):
    """A pipeline whose files cannot be read; `why` has the path and the remedy."""

    target: Target
    why: str

    def findings(self, _: float) -> list[str]:
        return [self.why]


def _looked(target: Target) -> Health | Unusable:
    """The others are shown all the same."""
    try:
        return health(target)
    except SpoolError as error:
        return Unusable(target, str(error))


def _show(one: Health | Unusable, findings: list[str]) -> None:
    click.echo(f"{click.style(one.target.name, bold=True)} → {clean(one.target.address)}")
    if isinstance(one, Health):
        _show_facts(one)
    for finding in findings:
        fact("wrong", finding, bad=True)


def _show_facts(one: Health) -> None:
    books, beat = one.books, one.beat
    fact("books", books.line(), bad=bool(books.imbalance()))
    if one.target.unknown:
        fact("target", one.target.unknown)
    fact("delivers", one.who())
    if one.pending:
        fact("pending", f"{_top(books.pending)}; the oldest for {span(books.oldest_pending_seconds)}")
    if books.dead:
        fact("dead", f"{_top(books.dead)}; see `tallystick dead list`")
    for reason, names in books.dropped.items():
        fact("dropped", f"{reason}: {_top(names)}")
    for reason, names in books.refused.items():
        fact("refused", f"{reason}: {_top(names, 'without a name')}")
    fact("spool", f"{number(books.segments)} segment{'s' * (books.segments != 1)}, {size(books.size_bytes)}")
    if beat is not None and beat.last_delivered:
        fact("last", f"delivered {span(max(0.0, time.time() - beat.last_delivered))} ago")
    if beat is not None and one.error:
        fact("error", f"{one.error} ({span(max(0.0, time.time() - beat.last_failed))} ago)", bad=True)
    if act := one.act():
        fact("to do", act, bad=True)


def _top(names: Counter[str], nameless: str = "damaged lines") -> str:
    """The total, then the largest names."""
    shown = ", ".join(f"{name or nameless} {number(count)}" for name, count in names.most_common(TOP))
    more = len(names) - TOP
    return f"{number(sum(names.values()))} ({shown}{f' and {more} more names' if more > 0 else ''})"


def _document(one: Health | Unusable) -> dict[str, Any]:
    if isinstance(one, Unusable):
        return {"pipeline": one.target.name, "target": one.target.address}
    books, beat = one.books, one.beat
    return {
        "pipeline": one.target.name,
        "target": one.target.address,
        "target_unknown": one.target.unknown or None,
        "line": books.line(),
        "since": books.since,
        "accepted": books.accepted,
        "delivered": books.delivered,
        "pending": books.pending,
        "dead": books.dead,
        "dropped": books.dropped,
        "refused": books.refused,
        "totals": {
            "accepted": sum(books.accepted.values()),
            "delivered": sum(books.delivered.values()),
            "pending": one.pending,
            "dead": sum(books.dead.values()),
            "dropped": sum(sum(names.values()) for names in books.dropped.values()),
            "refused": sum(sum(names.values()) for names in books.refused.values()),
        },
        "oldest_pending_seconds": books.oldest_pending_seconds,
        "segments": books.segments,
        "size_bytes": books.size_bytes,
        "delivering": one.delivering,
        "agent": beat,
        "action_needed": one.act() or None,
    }
