"""`manage.py djelme_backend_types`: the record types of each application."""

from __future__ import annotations

from typing import Any

from tallystick.compat.djelme.management.by_label import LabelCommand
from tallystick.compat.djelme.management.color import color_style
from tallystick.compat.djelme.registry import djelme_registry


class Command(LabelCommand):
    help = "Pretty-print a listing of all registered djelme recordtypes."

    def handle(self, *args: Any, **options: Any) -> None:
        style = color_style()
        for label in self.labels(options):
            self.stdout.write(f"Recordtypes for {label!r}", style.MIGRATE_HEADING)
            for kind in djelme_registry.each_recordtype(app_label=label):
                self.stdout.write(f"{label}.{style.TYPENAME(kind.__name__)}")
