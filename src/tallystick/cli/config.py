"""`tallystick config`: the settings in force."""

from __future__ import annotations

from typing import Final

import click

from tallystick.cli.app import Group, meant
from tallystick.cli.options import json_option, where_options
from tallystick.cli.output import json_document, note, show, table
from tallystick.pipelines.targets import Where
from tallystick.settings import Settings, mask_url, unknown_environment
from tallystick.settings import table as settings_table

LONG: Final = 40


@click.group(cls=Group)
def config() -> None:
    """The settings in force, and where each comes from."""


@config.command("show")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@where_options
def config_show(where: Where, names: tuple[str, ...], as_json: bool) -> None:
    """Every setting, its value and where the value comes from; secrets masked. With NAME, that one explained."""
    settings = where.settings()
    rows = settings_table()
    if unknown := [name for name in names if name not in rows]:
        near = meant(unknown[0], rows) or f"; known are {', '.join(rows)}"
        raise click.UsageError(f"no such setting: {', '.join(unknown)}{near}")
    chosen = {name: row for name, row in rows.items() if not names or name in names}
    if as_json:
        json_document(
            [
                {
                    "name": name,
                    "value": _value(getattr(settings, name), name),
                    "source": settings.source(name),
                    "environment": row.env,
                    "meaning": row.sentence,
                }
                for name, row in chosen.items()
            ]
        )
        return
    shown = [[name, _shown(settings, name, whole=bool(names)), settings.source(name)] for name in chosen]
    show(table(["setting", "value", "from"], shown))
    for name in names:
        note(f"{name}: {chosen[name].sentence} It is {chosen[name].must}; in the environment {chosen[name].env}.")
    for sentence in unknown_environment():
        note(sentence)


def _shown(settings: Settings, name: str, *, whole: bool) -> str:
    """Whole where it was asked for by name; else a long list is cut, which would make every line of the table long."""
    shown = str(settings.home) if name == "home" else settings.shown(name)
    if whole or name != "scrub" or len(shown) <= LONG:
        return shown
    return f"{shown[:LONG]}… (`tallystick config show {name}` has all)"


def _value(value: object, name: str) -> object:
    if name == "backend" and isinstance(value, str):
        return mask_url(value)
    return value if isinstance(value, str | int | float | bool | dict | tuple | None) else str(value)
