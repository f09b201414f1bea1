"""`tallystick pipeline`: which destinations this home has."""

from __future__ import annotations

from typing import Any

import click

from tallystick.agent.election import elected
from tallystick.cli.app import Group
from tallystick.cli.options import json_option, where_options
from tallystick.cli.output import json_document, show, table
from tallystick.errors import SettingsError
from tallystick.pipelines import description
from tallystick.pipelines.naming import own_file
from tallystick.pipelines.targets import Target, Where, asked_target, targets
from tallystick.plugins import backend_from_url
from tallystick.spool.folder import Folder


@click.group(cls=Group)
def pipeline() -> None:
    """Pipelines: list or show them, or move one to another database.

    A pipeline is a destination: the records for one database, from all applications that share the home.
    """


def _about(target: Target) -> dict[str, Any]:
    return {
        "pipeline": target.name,
        "target": target.address,
        "target_unknown": target.unknown,
        **description.read(target.folder).terms(),
    }


@pipeline.command("list")
@json_option
@where_options
def pipeline_list(where: Where, as_json: bool) -> None:
    """Every pipeline of the home, and where its records go."""
    found = targets(where)
    if as_json:
        json_document({"pipelines": [_about(target) for target in found]})
    elif not found:
        click.echo(f"No pipelines in {where.settings().home}: nothing was recorded there yet.")
    else:
        show(table(["pipeline", "records go to"], [[one.name, one.unknown or one.address] for one in found]))


@pipeline.command("show")
@click.argument("name")
@json_option
@where_options
def pipeline_show(where: Where, name: str, as_json: bool) -> None:
    """One pipeline: its database, and what is said about keeping records there."""
    about = _about(asked_target(Where(where.home, name)))
    if as_json:
        json_document(about)
        return
    for key, value in about.items():
        if value != "":
            click.echo(f"{key.replace('_', ' ')}: {value}")


@pipeline.command("move")
@click.argument("name")
@click.argument("url")
@where_options
def pipeline_move(where: Where, name: str, url: str) -> None:
    """Send all records of a pipeline to another database from now on, also those that wait.

    What was delivered stays where it is; `tallystick copy` takes it along. Applications that name the old database for
    this pipeline are refused when they start again.
    """
    folder = Folder(where.settings().home, name)
    if not folder.about.exists():
        raise SettingsError(f"pipeline: there is no {name!r} in {folder.home}; `tallystick pipeline list` names them")
    address = str(backend_from_url(url).address)
    if url.startswith("memory:"):
        raise SettingsError("memory:// is gone with each process; give the URL of a database")
    by: description.By = "folder" if address == own_file(folder) else "url"
    with elected(folder):
        description.move(folder, description.facts(address, by, url if by == "url" else None))
    click.echo(f"{name}: records go to {address} from now on")
