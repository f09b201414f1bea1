"""What an agent does besides delivering, when the settings ask for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from tallystick.agent.report import Report
from tallystick.agent.self_metrics import SelfMetrics
from tallystick.backends.base import Backend, Managed, Readable
from tallystick.queries import Query
from tallystick.settings import Settings
from tallystick.spool.folder import Folder
from tallystick.waiting import steady

logger = logging.getLogger("tallystick.agent")

PRUNE_SECONDS: Final = 3600.0
DAY_SECONDS: Final = 86_400.0

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

    What is old is told by the newest record and not by the clock alone, which may be set wrong. And after a clock has
    leapt ahead by more than a day, since the last agent or while this one runs, nothing is forgotten for a day: the
    leap may be a long pause, or a mistake that a person has time to see.
    """

    def __init__(self, backend: Backend, days: int) -> None:
        self._backend = backend
        self._days = days
        self._next = 0.0
        self._ahead: float | None = None
        """The wall clock less the steady one."""

    def __call__(self, report: Report) -> None:
        if not isinstance(self._backend, Managed):
            return
        doubted = self._doubted(report)
        if steady() < self._next:
            return
        self._next = steady() + PRUNE_SECONDS
        if doubted:
            logger.warning(
                "nothing of %s is forgotten for a day: the clock has leapt ahead by more than a day; see that it is"
                " right",
                self._backend.address,
            )
            return
        try:
            gone = self._backend.prune(min(time.time(), self._newest()) - self._days * DAY_SECONDS)
        except (Exception, SystemExit) as error:  # whatever a driver does: delivery goes on, the next hour tries again
            why = report.hide(f"{type(error).__name__}: {error}")
            logger.warning("%s does not forget records older than %d days: %s", self._backend.address, self._days, why)
        else:
            if gone:
                logger.info("%s forgot %d records older than %d days", self._backend.address, gone, self._days)

    def _newest(self) -> float:
        """When the newest record is of, in epoch seconds, where the backend can say it."""
        if isinstance(self._backend, Readable):
            for record in self._backend.records(Query(), newest=1):
                return record.timestamp_ns / 1e9
        return time.time()

    def _doubted(self, report: Report) -> bool:
        """Whether the clock has leapt ahead within the last day, by its own account."""
        now, beat, before = time.time(), report.heartbeat, report.before
        if self._ahead is None:
            self._ahead = now - steady()
            if before is not None and before.beat:
                leapt = now - before.beat > DAY_SECONDS
                beat.doubted = now if leapt else before.doubted
        elif now - steady() - self._ahead > DAY_SECONDS:
            self._ahead = now - steady()
            beat.doubted = now
        return 0 <= now - beat.doubted < DAY_SECONDS
