"""What an agent does besides delivering, when the settings ask for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from tallystick.agent.report import Report
from tallystick.agent.self_metrics import SelfMetrics
from tallystick.backends.base import Backend, Managed
from tallystick.settings import Settings
from tallystick.spool.folder import Folder
from tallystick.waiting import steady

logger = logging.getLogger("tallystick.agent")

PRUNE_SECONDS: Final = 3600.0

Chore = Callable[[Report], object]


def chores_of(settings: Settings, folder: Folder, backend: Backend) -> list[Chore]:
    """The chores for a pipeline with these settings."""
    chores: list[Chore] = []
    if settings.self_metrics:
        chores.append(SelfMetrics(folder, settings.host))
    if settings.retention_days is not None:
        chores.append(Retention(backend, settings.retention_days))
    return chores


class Retention:
    """Once an hour, and soon after the start, the backend forgets what is older than `days`, whoever recorded it:
    how long records are kept is a matter of the database, not of one application among those that share a pipeline.
    """

    def __init__(self, backend: Backend, days: int) -> None:
        self._backend = backend
        self._days = days
        self._next = 0.0

    def __call__(self, report: Report) -> None:
        if steady() < self._next or not isinstance(self._backend, Managed):
            return
        self._next = steady() + PRUNE_SECONDS
        try:
            gone = self._backend.prune(time.time() - self._days * 86_400)
        except (Exception, SystemExit) as error:  # whatever a driver does: delivery goes on, the next hour tries again
            why = report.hide(f"{type(error).__name__}: {error}")
            logger.warning("%s does not forget records older than %d days: %s", self._backend.address, self._days, why)
        else:
            if gone:
                logger.info("%s forgot %d records older than %d days", self._backend.address, gone, self._days)
