"""`manage.py djelme_indexes`: list the indices; delete the expired ones."""

from __future__ import annotations

import logging
from typing import Any

from tallystick.compat.djelme.management.by_label import LabelCommand
from tallystick.compat.djelme.registry import djelme_registry


class Command(LabelCommand):
    help = "Inspect and manage existing indexes"

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        delete = "Delete indexes past their expiration date"
        parser.add_argument("--delete-expired", action="store_true", help=delete)
        skip = "Skip confirmation for --delete-expired"
        parser.add_argument("--really-really", action="store_true", help=skip)

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger("elastic_transport").setLevel(logging.ERROR)
        labels = self.labels(options)
        kinds = (kind for label in labels for kind in djelme_registry.each_recordtype(app_label=label))
        if not options["delete_expired"]:
            self.stdout.write("Existing indexes:")
            for kind in kinds:
                for one in kind.each_existing_index():
                    self.stdout.write(f"{one.index_name}{' (expired)' if one.is_expired else ''}")
            return
        self.stdout.write("Expired indexes:")
        expired = [(kind, one.index_name) for kind in kinds for one in kind.each_existing_index() if one.is_expired]
        if not expired:
            self.stdout.write("No expired indexes.")
            return
        if not options["really_really"]:
            for _, name in expired:
                self.stdout.write(name)
            if input("Really delete all these indexes? (y/N)").lower() != "y":
                return
        for kind, name in expired:
            self.stdout.write(f"deleting {name}")
            kind.delete_index(name)
