"""The agent's own metrics, recorded like any other (`self_metrics = true`).

Once a minute what was added to `Report`'s totals goes into the pipeline's own spool, as counters with the tag
`pipeline`: `tallystick_agent_delivered_records_total` and so on. A minute without work records nothing, so that the
agent does not keep itself busy. For that moment only there is a segment, so nothing is left open for anybody to close.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

from tallystick.agent.report import Report
from tallystick.codec import encode_line
from tallystick.records import COUNTER
from tallystick.spool.folder import Folder
from tallystick.spool.spool import Spool
from tallystick.waiting import steady

EVERY_SECONDS: Final = 60.0


class SelfMetrics:
    """Called by the agent about once a second."""

    def __init__(self, folder: Folder, host: str = "") -> None:
        self._folder = folder
        self._host = host
        self._recorded: dict[str, float] = {}
        self._own = 0
        self._next = steady() + EVERY_SECONDS

    def __call__(self, report: Report) -> None:
        if steady() < self._next:
            return
        self._next = steady() + EVERY_SECONDS
        self.record(report)

    def record(self, report: Report) -> None:
        totals = report.heartbeat.totals
        delivered = "tallystick_agent_delivered_records_total"
        if totals[delivered] - self._recorded.get(delivered, 0.0) <= self._own:
            return  # nothing but what was recorded here the last time
        added = {name: total - self._recorded.get(name, 0.0) for name, total in totals.items()}
        self._recorded = dict(totals)
        self._own = sum(value != 0 for value in added.values())
        tags = {"pipeline": self._folder.name}
        spool = Spool(self._folder, app="tallystick", host=self._host, tags=tags, segment_bytes=1 << 16)
        with closing(spool):
            for name, value in added.items():
                if value:
                    spool.append(encode_line(time.time_ns(), COUNTER, name, value, {}), name)
