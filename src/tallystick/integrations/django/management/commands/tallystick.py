"""`manage.py tallystick COMMAND …`: the command line, with the settings of `TALLYSTICK`."""

from __future__ import annotations

import os
import runpy
import sys
from typing import Any

from django.core.management.base import BaseCommand

from tallystick.integrations.django.recording import options


class Command(BaseCommand):
    help = "Run a command of tallystick with this project's settings, such as: manage.py tallystick status"
    requires_system_checks: tuple[str, ...] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """All arguments are the command line's own."""
        self._run(argv[2:])

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("arguments", nargs="*")

    def handle(self, *args: Any, **given: Any) -> None:
        self._run(list(given.get("arguments") or args))

    def _run(self, words: list[str]) -> None:
        for name, value in options().items():
            if isinstance(value, str | int | float):
                os.environ.setdefault(f"TALLYSTICK_{name.upper()}", str(value))
        sys.argv = ["tallystick", *words]
        runpy.run_module("tallystick", run_name="__main__")
