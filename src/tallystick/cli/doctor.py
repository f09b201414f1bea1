"""`tallystick doctor`: what is wrong here, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import click

from tallystick.cli.options import json_option, where_options
from tallystick.cli.output import json_document
from tallystick.errors import SettingsError
from tallystick.pipelines.checkup import host, pipeline
from tallystick.pipelines.checkup.finding import Finding, fail
from tallystick.pipelines.targets import Target, Where, asked_target, targets
from tallystick.queries import seconds_of
from tallystick.settings import Settings
from tallystick.text import clean

COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--offline", is_flag=True, help="Do not ask the databases.")
@click.option("--max-age", default="60s", metavar="SPAN", help="Records may wait so long. [default: 60s]")
@json_option
@where_options
def doctor(where: Where, offline: bool, max_age: str, as_json: bool) -> None:
    """Say what is wrong here, and the remedy. Exits with 1 when something failed.

    It looks at this host (Python, SQLite, the home, the disk, locks, the clock), at the settings and whether their
    database answers, and at each pipeline: its files, its books, who delivers, the last error, and its database.
    """
    max_age_seconds = seconds_of(max_age, "--max-age")
    settings = where.settings()
    found: dict[str, list[Finding]] = {"": list(host.look(settings))}
    if all(one.level != "fail" for one in host.folder(settings.home)):
        whole = (
            where if where.pipeline is not None else Where(where.home)
        )  # `--backend` alone is a database to be asked
        for target in targets(whole, broken=True):
            found[target.name] = list(pipeline.look(target, settings, max_age_seconds, offline=offline))
    try:
        expected = None if offline else to_come(where, settings)
    except SettingsError as error:  # the database that the settings name cannot be
        expected, found[""] = None, [*found[""], fail(str(error), "")]
    if expected is not None and expected.name not in found and not expected.unknown:
        found[expected.name] = list(pipeline.database(expected))
    failed = sum(one.level == "fail" for findings in found.values() for one in findings)
    if as_json:
        lines = [
            {"pipeline": name or None, "level": one.level, "what": one.what, "remedy": one.remedy or None}
            for name, findings in found.items()
            for one in findings
        ]
        json_document({"ok": not failed, "findings": lines})
    else:
        for name, findings in found.items():
            _show(name, findings)
    if failed:
        raise SystemExit(1)


def to_come(where: Where, settings: Settings) -> Target | None:
    """Where the settings (or `--backend`) say that records go, also when none was recorded yet."""
    return asked_target(where) if where.backend is not None or (settings.backend and where.pipeline is None) else None


def _show(name: str, findings: Iterable[Finding]) -> None:
    before = f"{name}: " if name else ""
    for one in findings:
        level = click.style(f"{one.level:<4}", fg=COLOURS[one.level])
        remedy = f"; {clean(one.remedy)}" if one.remedy else ""
        what = clean(" ".join(one.what.split()))
        click.echo(f"{level}  {before}{what}{remedy}")
