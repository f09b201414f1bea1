"""Waits end in real time, whatever was made of Python's clocks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from freezegun import freeze_time

from tallystick import Metrics, waiting
from tallystick.waiting import Wait, steady


def test_a_frozen_clock_does_not_stop_the_steady_one() -> None:
    with freeze_time("2024-01-01"):
        before = steady()
        time.sleep(0.01)
        assert steady() - before >= 0.01


def test_a_wait_counts_its_turns_where_no_clock_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "steady", lambda: 5.0)
    wait, turns = Wait(0.05), 0
    while not wait.over and turns < 100:
        wait.sleep(0.01)
        turns += 1
    assert turns in (5, 6)


def test_flush_and_block_return_while_time_is_frozen(tmp_path: Path) -> None:
    with Metrics(
        home=tmp_path,
        deliver="off",
        spool_limit_bytes=131072,
        segment_bytes=65536,
        when_full="block",
        block_timeout_seconds=0.1,
    ) as metrics:
        began = steady()
        with freeze_time("2024-01-01"):
            metrics.increment("one")
            assert not metrics.flush(0.1)
            while not metrics.dropped:
                metrics.increment("fills")
        assert steady() - began < 5
