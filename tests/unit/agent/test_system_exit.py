"""A backend that calls `sys.exit` ends neither the agent's thread nor the delivery of other records."""

from __future__ import annotations

import sys
from pathlib import Path

from tallystick import Metrics
from tallystick.backends import BaseBackend
from tallystick.records import Value
from tallystick.spool.account import account
from tallystick.spool.folder import pipelines


class Leaving(BaseBackend):
    def __init__(self) -> None:
        self.reported: list[Value] = []

    def report(self, name: str, kind: str, value: Value, tags: dict[str, str], id: str) -> None:
        if value == 13:
            sys.exit(3)
        self.reported.append(value)


def test_a_backends_own_exit_rejects_its_record_and_delivery_goes_on(home: Path) -> None:
    backend = Leaving()
    with Metrics(backend=backend) as metrics:
        for value in (1, 13, 2):
            metrics.gauge("depth", value)
        assert metrics.flush(timeout_seconds=20)
        metrics.gauge("depth", 3)
        assert metrics.flush(timeout_seconds=20)
    assert sorted(set(backend.reported), key=str) == [1, 2, 3]
    (folder,) = pipelines(home)
    assert account(folder).dead == {"depth": 1}
