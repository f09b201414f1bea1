"""The command line: `tallystick <command>`. `app` has the table of commands; each command group has a file."""

from __future__ import annotations

from tallystick.cli.app import main

__all__ = ["main"]
