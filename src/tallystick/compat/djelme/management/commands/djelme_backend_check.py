"""`manage.py djelme_backend_check`: whether the templates are as the types say; exits with 1 when not."""

from __future__ import annotations

import logging
from typing import Any

from django.core.management.base import CommandError
from django.utils.termcolors import colorize

from tallystick.compat.djelme.exceptions import DjelmeSetupError
from tallystick.compat.djelme.management.by_label import LabelCommand
from tallystick.compat.djelme.management.color import color_style
from tallystick.compat.djelme.registry import djelme_registry


class Command(LabelCommand):
    help = "Check if registered recordtypes have a corresponding index templates in Elasticsearch."

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger("elasticsearch").setLevel(logging.CRITICAL)
        style, wrong = color_style(), 0
        labels = self.labels(options)
        self.stdout.write("Checking for outdated index templates...")
        for label in labels:
            for kind in djelme_registry.each_recordtype(app_label=label):
                try:
                    kind.check_djelme_setup()
                except DjelmeSetupError as error:
                    self.stdout.write(f"  {error.args[0]}")
                    wrong += 1
        if not wrong:
            self.stdout.write("All djelme recordtypes set up.", style.SUCCESS)
            return
        self.stdout.write(f"{wrong} index template(s) not set up.", style.ERROR)
        command = colorize("python manage.py djelme_backend_setup", opts=("bold",))
        self.stdout.write(f"Run {command} to set up index templates.")
        raise CommandError(1)
