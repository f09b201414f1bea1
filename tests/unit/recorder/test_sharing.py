"""Recorders of one pipeline in one process share what costs something."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tallystick.backends.sqlite import SqliteBackend
from tallystick.pipelines import sharing
from tallystick.queries import Query
from tallystick.recorder.metrics import Metrics
from tallystick.spool.folder import Folder


def stored(home: Path) -> dict[str, dict[str, str]]:
    return {record.name: record.tags for record in SqliteBackend(Folder(home).database).records(Query())}


def test_recorders_made_for_each_request_share_a_spool_and_an_agent_and_are_warned_of(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics(home=home, segment_bytes=65_536, spool_limit_bytes=4 * 65_536)
    metrics.increment("first")
    assert metrics.flush(30)
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(sharing.MANY):
        Metrics(home=home, segment_bytes=65_536, spool_limit_bytes=4 * 65_536).increment("more")
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert metrics.flush(30)
    assert not metrics.dropped
    assert "recorders were made" in caplog.text


def test_tags_of_recorders_that_share_never_mix(home: Path) -> None:
    with (
        Metrics(home=home, tags={"env": "prod"}) as first,
        Metrics(home=home, tags={"env": "test", "team": "a"}) as second,
        Metrics(home=home) as third,
        Metrics(home=home, tags={"env": "prod"}) as fourth,
    ):
        for name, metrics in {"first": first, "second": second, "third": third, "fourth": fourth}.items():
            metrics.increment(name, tags={"own": "1"})
            metrics.increment(name, tags={"own": "1"})
        assert second._spool is third._spool
        assert first._spool is fourth._spool
        assert all(metrics.flush(30) for metrics in (first, second))
    assert stored(home) == {
        "first": {"env": "prod", "own": "1"},
        "second": {"env": "test", "team": "a", "own": "1"},
        "third": {"own": "1"},
        "fourth": {"env": "prod", "own": "1"},
    }


def test_a_recorder_goes_on_while_another_one_of_its_pipeline_is_closed(home: Path) -> None:
    one, other = Metrics(home=home), Metrics(home=home)
    one.close()
    one.close()
    other.increment("other")
    other.close()
    other.increment("late")
    assert list(stored(home)) == ["other"]
    assert other.dropped == {("closed", "late"): 1}
    with Metrics(home=home) as again:
        again.increment("again")
    assert list(stored(home)) == ["other", "again"]
