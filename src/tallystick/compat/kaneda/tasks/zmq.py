"""The worker's side of ZeroMQ: `zmqworker [--connection_url URL]`."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import click

from tallystick.compat.kaneda.exceptions import SettingsError
from tallystick.compat.kaneda.storing import backend, store
from tallystick.compat.kaneda.utils import get_settings

logger = logging.getLogger("kaneda.tasks.zmq")

_FIELDS = {"name", "metric", "value", "tags", "id_", "at", "host"}


@click.command()
@click.option("--connection_url", "-u", help="ZMQ connection url, e.g: tcp://127.0.0.1:5555")
def zmq_task(connection_url: str | None) -> None:
    """Store what comes on a ZeroMQ socket with the BACKEND of the Kaneda settings module, until stopped."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # a settings module in this folder
    try:
        connection_url = connection_url or _connection_url()
        target = backend()
    except SettingsError as error:
        click.echo(f"SettingsError: {error}", err=True)
        sys.exit(1)
    zmq = import_module("zmq")
    socket = zmq.Context.instance().socket(zmq.PULL)
    socket.connect(connection_url)
    click.secho(f"Running ZMQ worker - listening at {connection_url}.", fg="blue")
    click.secho(f"Using {type(target).__name__}.", fg="blue")
    try:
        while True:
            _store(socket.recv())
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        socket.close(0)


def _connection_url() -> str:
    try:
        url: Any = getattr(get_settings(), "ZMQ_CONNECTION_URL", None)
    except ImportError:
        url = None
    if not url:
        raise SettingsError("pass --connection_url, or set ZMQ_CONNECTION_URL in the Kaneda settings module")
    return str(url)


def _store(message: bytes) -> None:
    """Junk is logged and passed over."""
    try:
        given = json.loads(message)
        if not isinstance(given, dict) or not {"name", "metric", "value"} <= given.keys() or given.keys() - _FIELDS:
            raise ValueError("no object with the keys name, metric, value, tags, id_")
        click.secho(f"[{datetime.now(UTC).replace(tzinfo=None)}: Received data] {given}", fg="green")
        name, metric, value = given["name"], given["metric"], given["value"]
        store(name, metric, value, given.get("tags"), given.get("id_"), given.get("at"), given.get("host") or "")
    except Exception as error:
        logger.warning("a message was not stored (%s): %r", error, message[:200])
        click.secho(f"passed over: {error}", fg="red", err=True)
