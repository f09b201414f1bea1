"""Commands called in this process, as fast as functions; tests/integration/cli has them as processes."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from tallystick.cli.app import app


def call(*words: object, exits: int = 0, types: str = "") -> Result:
    """Run a command to its end, which must be with this exit code. `types` is what somebody types."""
    done = CliRunner().invoke(app, [str(word) for word in words], input=types, prog_name="tallystick")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == exits, f"{words}: {done.exit_code}\n{done.output}"
    return done


def answer(*words: object, exits: int = 0) -> Any:
    """The one JSON document that it prints."""
    return json.loads(call(*words, "--json", exits=exits).stdout)


def lines(*words: object) -> list[Any]:
    """The JSON lines that it prints."""
    return [json.loads(line) for line in call(*words).stdout.splitlines()]
