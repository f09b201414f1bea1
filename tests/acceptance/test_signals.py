"""A signal handler that records while what it interrupts records."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.stage import Stage, assert_complete, numbers_by, read_acknowledged


def test_a_signal_handler_may_record_at_any_moment(stage: Stage, tmp_path: Path, thorough: bool) -> None:
    """No deadlock, nothing lost, nothing twice, every refusal counted."""
    stage.start("interrupted", tmp_path / "acknowledged", 20_000 if thorough else 1_000).ends_well()
    stage.drain()
    found = numbers_by(stage.records("fresh"), "who")
    acknowledged = read_acknowledged(tmp_path / "acknowledged")
    for who, count in enumerate(acknowledged):
        assert_complete(found.pop((str(who),)), count, who)
    assert not found
    books = stage.books()
    assert books.accepted == {"fresh": sum(acknowledged), "long": sum(count // 4 for count in acknowledged)}
    assert books.refused["nan"].total() == sum(count // 3 for count in acknowledged)
    assert not books.dropped
    assert not stage.segments()
