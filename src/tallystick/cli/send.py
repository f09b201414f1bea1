"""`tallystick send`: record from a shell."""

from __future__ import annotations

import os

import click

from tallystick.agent import report
from tallystick.agent.election import somebody_delivers
from tallystick.cli.app import Failure
from tallystick.cli.options import SECONDS, json_option, tag_pairs, where_options
from tallystick.cli.output import json_document
from tallystick.errors import SettingsError, SpoolError
from tallystick.pipelines.targets import Target, Where, chosen_pipeline, no_folder, target_of
from tallystick.recorder.metrics import Metrics
from tallystick.settings import load_settings
from tallystick.spool.folder import Folder

KINDS = ("increment", "decrement", "gauge", "timing", "event")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.argument("value", required=False)
@click.option("--tag", "tags", multiple=True, metavar="TAG=VALUE", help="A tag; again for more.")
@click.option("--unit", help="The value's unit. A timing without one is in seconds.")
@click.option("--wait", type=SECONDS, default=2.0, show_default=True, help="How long to wait for the delivery.")
@json_option
@where_options
def send(
    where: Where,
    kind: str,
    name: str,
    value: str | None,
    tags: tuple[str, ...],
    unit: str | None,
    wait: float,
    as_json: bool,
) -> None:
    """Record one thing: a number, or the text of an event. `increment` and `decrement` need no VALUE.

    It is kept when the command ends with 0, also when the database is down: then it waits in the spool.
    """
    target = _target(where)
    pairs = {tag: _single(tag, values) for tag, values in tag_pairs(tags, "--tag").items()}
    metrics = Metrics(target.url, home=target.folder.home, pipeline=target.name, app="tallystick", strict=True)
    delivered = False
    try:
        _record(metrics, kind, name, value, pairs, unit)
        delivered = metrics.flush(wait)
        dropped = metrics.dropped
    finally:
        metrics.close(1.0 if delivered else 0.0)  # when it is delivered, the segment goes at once
    if dropped:
        reasons = ", ".join(sorted({reason for reason, _ in dropped}))
        raise Failure(f"not recorded: {reasons}; `tallystick doctor` says more")
    if as_json:
        json_document({"recorded": True, "delivered": delivered, "pipeline": target.name, "target": target.address})
    elif delivered:
        click.echo(f"recorded, and delivered to {target.address}")
    else:
        known = target_of(target.folder, load_settings(home=where.home))  # by whoever runs it without our --backend
        later = "the agent delivers it" if _others_deliver(target.folder) else f"run `{known.agent}` to deliver it"
        click.echo(f"recorded; it waits in {target.folder.path} for {target.address}: {later}")


def _others_deliver(folder: Folder) -> bool:
    """Our own thread ends with us, also while it still waits for its database."""
    beat = report.read(folder)
    return somebody_delivers(folder) and (beat is None or beat.pid != os.getpid())


def _target(where: Where) -> Target:
    """The pipeline that is recorded into, with its own backend: records for one never reach another."""
    own = load_settings(home=where.home)
    folder = Folder(own.home, chosen_pipeline(where, own))
    if why := no_folder(folder):
        raise SpoolError(why)
    if folder.path.exists() or where.pipeline in (None, own.pipeline) or where.backend is not None:
        target = target_of(folder, own, where.backend)
        if target.unknown:
            raise SettingsError(f"pipeline {target.name}: {target.unknown}")
        return target
    raise SettingsError(f"pipeline: there is no {folder.name!r} in {own.home}; give --backend URL to make it")


def _single(tag: str, values: list[str]) -> str:
    if len(values) > 1:
        raise click.UsageError(f"--tag: {tag} is given {len(values)} times; a record has one value of a tag")
    return values[0]


def _record(metrics: Metrics, kind: str, name: str, value: str | None, tags: dict[str, str], unit: str | None) -> None:
    if kind == "event":
        if unit is not None:
            raise click.UsageError("an event has no --unit")
        metrics.event(name, value or "", tags=tags)
        return
    if value is None and kind not in ("increment", "decrement"):
        raise click.UsageError(f"{kind} needs a VALUE")
    getattr(metrics, kind)(name, 1 if value is None else _number(value), tags=tags, unit=unit)


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"VALUE: {text!r} is no number") from None
