"""Somebody deletes the home of an application that runs: it says so, and goes on in a new one."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from tests.acceptance.stage import until

from tallystick.recorder.metrics import Metrics
from tallystick.spool.account import account
from tallystick.spool.folder import Folder

SEGMENT_BYTES = 65_536


def writing(home: Path) -> Metrics:
    return Metrics(home=home, deliver="off", segment_bytes=SEGMENT_BYTES)


def take_away(home: Path) -> None:
    """At one blow: a thread that is making files there would be in the way of a removal one by one."""
    away = home.with_name("away")
    home.rename(away)
    shutil.rmtree(away)


def test_flush_says_false_when_what_it_waits_for_was_taken_away_and_recording_goes_on(home: Path) -> None:
    with writing(home) as metrics:
        metrics.increment("before")
        take_away(home)
        for _ in range(500):
            metrics.increment("lost")
        assert metrics.flush(3) is False
        metrics.increment("after")
        assert metrics.dropped == {}
        assert account(Folder(home)).pending == {"after": 1}
        assert Folder(home).description()["by"] == "folder", "an agent can find out where the records go"


def test_what_was_settled_before_its_folder_was_taken_away_is_not_called_lost(home: Path) -> None:
    with Metrics(home=home, segment_bytes=SEGMENT_BYTES) as metrics:
        for value in range(3_000):
            metrics.increment("n", value)
        assert metrics.flush(60)
        take_away(home)
        assert metrics.flush(3)


def test_delivered_segments_that_an_agent_removes_are_never_called_lost(home: Path) -> None:
    with Metrics(home=home, segment_bytes=SEGMENT_BYTES) as metrics:
        for value in range(12_000):
            metrics.increment("n", value)
            if value % 300 == 0:
                assert metrics.flush(60)


def test_when_a_segment_is_full_recording_goes_on_in_a_folder_made_anew(home: Path) -> None:
    with writing(home) as metrics:
        for _ in range(3_000):  # so far that the next segment is ready
            metrics.increment("before")
        take_away(home)
        for _ in range(10_000):
            metrics.increment("n")
        assert metrics.dropped == {}
        assert account(Folder(home)).pending["n"] > 10_000 - 2 * SEGMENT_BYTES // 40
        assert metrics.flush(0.1) is False


def test_counts_go_on_in_a_folder_made_anew(home: Path) -> None:
    with writing(home) as metrics:
        metrics.increment("n")
        metrics.gauge("n", float("nan"))
        take_away(home)
        for _ in range(3_000):
            metrics.increment("n")
        metrics.gauge("n", float("nan"))
        assert account(Folder(home)).refused == {"nan": {"n": 1}}


def test_while_the_folder_cannot_be_made_it_is_logged_once_and_counted_and_then_goes_on(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with writing(home) as metrics, caplog.at_level(logging.WARNING, "tallystick.spool"):
        metrics.increment("before")
        take_away(home)
        home.write_text("in the way")
        while not metrics.dropped:
            metrics.increment("n")
        for _ in range(100):
            metrics.increment("n")
        assert set(metrics.dropped) == {("spool_error", "n")}
        (told,) = caplog.messages
        assert "spool_error" in told
        assert str(Folder(home).segments) in told
        home.unlink()
        count = -1
        while count != metrics.dropped.total():
            count = metrics.dropped.total()
            metrics.increment("n")
        assert until(lambda: account(Folder(home)).dropped.get("spool_error") == {"n": count})
        assert len(caplog.messages) == 1
