"""`manage.py djelme_backend_setup`: make the index templates of all record types."""

from __future__ import annotations

from typing import Any

from tallystick.compat.djelme.management.by_label import LabelCommand
from tallystick.compat.djelme.management.color import color_style
from tallystick.compat.djelme.registry import djelme_registry


class Command(LabelCommand):
    help = "Ensures index templates exist for all Metric classes."

    def handle(self, *args: Any, **options: Any) -> None:
        style = color_style()
        for label in self.labels(options):
            self.stdout.write(f"Syncing recordtypes for app: {label}", style.MIGRATE_HEADING)
            found = djelme_registry.recordtypes_by_backend(app_label=label)
            if not found:
                self.stdout.write(f"No recordtypes found for app {label!r}")
            for name, kinds in found.items():
                self.stdout.write(f"  Using backend {name!r}...")
                djelme_registry.get_backend(name).djelme_setup(kinds)
        self.stdout.write("Synchronized recordtypes.", style.SUCCESS)
