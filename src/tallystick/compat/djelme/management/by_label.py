"""The argument that all commands take: an application's label, or none for all."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from tallystick.compat.djelme.registry import djelme_registry


class LabelCommand(BaseCommand):
    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("app_label", nargs="?", help="App label of a django application.")

    def labels(self, options: dict[str, Any]) -> list[str]:
        given = options["app_label"]
        return [given] if given else list(djelme_registry.each_app_label())
