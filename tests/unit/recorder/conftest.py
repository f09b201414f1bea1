"""Recorders whose lines are looked at instead of stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.recorder.metrics import Metrics


class Lines:
    """Stands in the spool's place: keeps the lines it is given."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.raw.append(line)

    def append(self, line: bytes, name: str) -> bool:
        self.raw.append(line)
        return True

    def take(self) -> list[list[Any]]:
        """The lines since the last time, decoded."""
        taken, self.raw = self.raw, []
        return [msgspec.json.decode(line) for line in taken]

    def one(self) -> list[Any]:
        """The only line since the last time, without its time."""
        (line,) = self.take()
        return line[1:]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def make_metrics(home: Path, lines: Lines) -> Iterator[Callable[..., Metrics]]:
    """`Metrics` with these settings, whose lines go to `lines`."""
    made: list[Metrics] = []

    def make(**settings: Any) -> Metrics:
        metrics = Metrics(home=home, deliver="off", app="unit", **settings)
        metrics.divert(lines)
        made.append(metrics)
        return metrics

    yield make
    for metrics in made:
        metrics.close()


@pytest.fixture
def metrics(make_metrics: Callable[..., Metrics]) -> Metrics:
    return make_metrics()
