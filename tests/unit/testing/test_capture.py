"""`capture()` shows what code under test recorded, and lets nothing else see it."""

import os
from pathlib import Path

import pytest

from tallystick import Metrics, Query
from tallystick.testing import capture


def test_capture_sees_recorders_made_before_and_during_it(tmp_path: Path) -> None:
    before = Metrics(home=tmp_path, deliver="off")
    handle = before.counter("handled")
    with capture() as captured:
        before.increment("signup", tags={"plan": "pro"})
        before.bind(tags={"shop": "hh"}).gauge("depth", 3)
        handle.inc()
        during = Metrics(home=tmp_path, pipeline="other", deliver="off")
        during.event("deploy", "v1")
    captured.assert_recorded("signup", tags={"plan": "pro"}, count=1)
    captured.assert_recorded("depth", kind="gauge", value=3, tags={"shop": "hh"})
    captured.assert_recorded("handled", count=1)
    captured.assert_recorded("deploy", value="v1")
    assert captured.query(Query("signup"))[0].points == [(0.0, 1)]
    assert not list(tmp_path.glob("*/segments/*.jsonl"))


def test_after_capture_records_go_their_own_way_again(tmp_path: Path) -> None:
    metrics = Metrics(home=tmp_path, deliver="off")
    metrics.increment("outside")
    with capture() as captured:
        metrics.increment("inside")
    metrics.increment("outside")
    metrics.close()
    captured.assert_not_recorded("outside")
    spooled = b"".join(path.read_bytes() for path in tmp_path.glob("*/segments/*.jsonl"))
    assert spooled.count(b'"outside"') == 2
    assert b'"inside"' not in spooled


def test_a_memory_backend_is_captured_too() -> None:
    metrics = Metrics("memory://")
    with capture() as captured:
        metrics.increment("signup")
    captured.assert_recorded("signup", count=1)
    assert metrics.query(Query("signup")) == []


def test_a_missing_record_fails_and_shows_what_there_was(tmp_path: Path) -> None:
    metrics = Metrics(home=tmp_path, deliver="off")
    with capture() as captured:
        metrics.increment("sign_up", tags={"pid": str(os.getpid())})
    with pytest.raises(AssertionError, match=r"(?s)expected 1 records with name='signup'.*counter sign_up 1"):
        captured.assert_recorded("signup", count=1)
    with pytest.raises(AssertionError):
        captured.assert_not_recorded("sign_up")
    captured.clear()
    assert captured.records == []
