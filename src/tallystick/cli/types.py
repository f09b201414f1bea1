"""`tallystick types`: which types of records the pipelines' applications declared."""

from __future__ import annotations

import click

from tallystick.cli.options import json_option, where_options
from tallystick.cli.output import json_document, show, table
from tallystick.pipelines.targets import Where
from tallystick.spool.folder import pipelines
from tallystick.text import number
from tallystick.typed.description import described


@click.command()
@json_option
@where_options
def types(where: Where, as_json: bool) -> None:
    """List the declared types of records, as each pipeline's folder describes them.

    A type is described when it first records; one whose fields changed stands there once for each form, newest first.
    """
    settings = where.settings()
    folders = [f for f in pipelines(settings.home) if where.pipeline in (None, f.name)]
    found = [(folder.name, one) for folder in folders for one, _ in described(folder.path)]
    if as_json:
        json_document({"types": [{"pipeline": pipeline, "digest": one.digest, "type": one} for pipeline, one in found]})
        return
    if not found:
        click.echo("No type of records was declared here yet; one is described when it first records.")
        return
    rows = [
        [
            one.name,
            pipeline,
            one.period,
            "–" if one.retention_days is None else f"{number(one.retention_days)} d",
            ", ".join(one.unique_together) or "–",
            ", ".join(one.fields),
            one.digest,
        ]
        for pipeline, one in found
    ]
    show(table(["type", "pipeline", "period", "retention", "unique", "fields", "digest"], rows))
