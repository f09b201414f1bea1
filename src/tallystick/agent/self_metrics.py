"""The agent's own metrics, recorded like any other (`self_metrics = true`).

Once a minute what was added to `Report`'s totals goes into the pipeline's own spool, as counters with the tag
`pipeline`: `tallystick_agent_delivered_records_total` and so on, records that were dropped among them. Gauges say how
the pipeline stands: `tallystick_pending_records`, `tallystick_dead_records`, `tallystick_oldest_pending_seconds` and
`tallystick_spool_bytes`. A minute in which nothing happened records nothing, so that the agent does not keep itself
busy. For that moment only there is a segment, so nothing is left open for another process to close.

The books are read for it, which takes a while when much waits; beyond `LARGE_BYTES` only the size is told.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

from tallystick.agent.report import Report
from tallystick.codec import encode_line
from tallystick.records import COUNTER, GAUGE
from tallystick.spool.account import account
from tallystick.spool.folder import Folder
from tallystick.spool.spool import Spool
from tallystick.waiting import steady

EVERY_SECONDS: Final = 60.0
DELIVERED: Final = "tallystick_agent_delivered_records_total"
DROPPED: Final = "tallystick_dropped_records_total"
LARGE_BYTES: Final = 64 << 20
"""An application's thread would be slowed down for seconds by reading more."""


class SelfMetrics:
    """Called by the agent about once a second."""

    def __init__(self, folder: Folder, host: str = "") -> None:
        self._folder = folder
        self._host = host
        self._recorded: dict[str, float] = {}
        self._dead = 0.0
        self._own = 0
        self._next = steady() + EVERY_SECONDS

    def __call__(self, report: Report) -> None:
        if not self._recorded:
            self._recorded = self._begun(report)
        if steady() >= self._next:
            self._next = steady() + EVERY_SECONDS
            self.record(report)

    def _begun(self, report: Report) -> dict[str, float]:
        """What was lost before this agent began is not counted again."""
        return {**dict.fromkeys(report.heartbeat.totals, 0.0), DROPPED: self._books().get(DROPPED, 0.0)}

    def _books(self) -> dict[str, float]:
        size = self._folder.size_bytes()
        if size > LARGE_BYTES:
            return {"tallystick_spool_bytes": size}
        books = account(self._folder)
        return {
            DROPPED: sum(names.total() for names in books.dropped.values()),
            "tallystick_dead_records": books.dead.total(),
            "tallystick_oldest_pending_seconds": books.oldest_pending_seconds,
            "tallystick_pending_records": books.pending.total(),
            "tallystick_spool_bytes": size,
        }

    def record(self, report: Report) -> None:
        gauges = self._books()
        before = self._recorded or self._begun(report)
        totals = {**report.heartbeat.totals, DROPPED: gauges.pop(DROPPED, before[DROPPED])}
        added = {name: total - before[name] for name, total in totals.items()}
        dead = gauges.get("tallystick_dead_records", self._dead)
        waits = gauges.get("tallystick_oldest_pending_seconds", EVERY_SECONDS)
        if added[DELIVERED] <= self._own and not added[DROPPED] and dead == self._dead and waits < EVERY_SECONDS:
            return  # nothing but what was recorded here the last time
        self._recorded, self._dead = totals, dead
        lines = [(COUNTER, name, value) for name, value in added.items() if value]
        lines += [(GAUGE, name, value) for name, value in gauges.items()]
        self._own = len(lines)
        tags = {"pipeline": self._folder.name}
        spool = Spool(self._folder, app="tallystick", host=self._host, tags=tags, segment_bytes=1 << 16)
        with closing(spool):
            for kind, name, value in lines:
                spool.append(encode_line(time.time_ns(), kind, name, value, {}), name)
