"""A backend that calls `sys.exit` ends neither the agent's thread nor the delivery of other records."""

from __future__ import annotations

import sys
from pathlib import Path

from tallystick import Metrics
from tallystick.agent.election import somebody_delivers
from tallystick.backends import BaseBackend
from tallystick.records import Value
from tallystick.spool.account import account
from tallystick.spool.folder import pipelines


class Shy(BaseBackend):
    """Leaves at the first two openings, at each closing, and when it is to forget."""

    def __init__(self) -> None:
        self.opened = 0
        self.reported: list[Value] = []

    def open(self) -> None:
        self.opened += 1
        if self.opened < 3:
            sys.exit("not yet")

    def report(self, name: str, kind: str, value: Value, tags: dict[str, str], id: str) -> None:
        self.reported.append(value)

    def close(self) -> None:
        sys.exit("not ever")

    def setup(self) -> list[str]:
        return []

    check = indices = setup

    def prune(self, before: float) -> int:
        sys.exit("nothing is forgotten")


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


def test_a_backends_exit_from_anything_but_write_loses_no_record_and_holds_no_lock(home: Path) -> None:
    backend = Shy()
    with Metrics(backend=backend, retention_days=1) as metrics:
        for value in range(3):
            metrics.gauge("depth", value)
        assert metrics.flush(timeout_seconds=20)
    assert backend.reported == [0, 1, 2]
    (folder,) = pipelines(home)
    assert not somebody_delivers(folder)
    assert account(folder).dead == {}
