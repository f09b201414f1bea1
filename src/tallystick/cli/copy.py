"""`tallystick copy FROM TO`: records from one database to another, with their ids."""

from __future__ import annotations

from itertools import islice

import click

from tallystick import plugins
from tallystick.cli.app import Failure
from tallystick.cli.options import filter_options, json_option
from tallystick.cli.output import json_document, note
from tallystick.cli.tail import readable
from tallystick.masking import hider
from tallystick.pipelines.asking import opened, there, used
from tallystick.pipelines.copying import copied, placed
from tallystick.pipelines.summaries import Filters


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--source", "place", metavar="NAME", help="The collection, table or index of FROM.")
@click.option("--shape", metavar="NAME", help="The form of FROM's documents, such as kaneda.")
@filter_options
@json_option
def copy(
    source: str,
    target: str,
    names: tuple[str, ...],
    place: str | None,
    shape: str | None,
    filters: Filters,
    as_json: bool,
) -> None:
    """Copy records between two databases, both given by URL; without a NAME, all.

    Ids are kept, so doing it twice changes nothing. TO is made when it is not there; FROM is not.
    """
    source = placed(source, place, shape)
    origin, goal = plugins.backend_from_url(source), plugins.backend_from_url(target)
    if origin.address == goal.address:
        raise click.UsageError(f"FROM and TO are the same database, {goal.address}")
    there(origin, "FROM")
    opened(origin, source)
    try:
        opened(goal, target)
    except BaseException:
        origin.close()
        raise
    with used(goal, target), used(origin, source):
        records = readable(origin).records(filters.query(names))
        read, rejected = copied(records, goal, hider(source, target))
    if as_json:
        json_document({"read": read, "copied": read - len(rejected), "rejected": rejected})
    else:
        note(f"{read - len(rejected)} of {read} records are in {goal.address}")
    if rejected:
        first = "; ".join(f"{identity}: {reason}" for identity, reason in islice(rejected.items(), 3))
        raise Failure(f"{len(rejected)} records were rejected, such as {first}")
