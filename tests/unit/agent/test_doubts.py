"""Whom a refusal blames: a record is dead only when it is refused while others pass."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acceptance.stage import until

from tallystick.agent.agent import THREAD_RECORDS
from tallystick.agent.doubts import LONGEST_SECONDS, Doubts
from tallystick.backends.base import ACCEPTED, WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.codec import encode_line
from tallystick.errors import TooLarge
from tallystick.pipelines.agents import spool_agent
from tallystick.queries import Query
from tallystick.records import Batch
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder
from tallystick.spool.spool import Spool
from tallystick.testing import counters, make_batch

Answer = Callable[[Batch], WriteResult]


class Judging(MemoryBackend):
    """Refuses the values that `bad` names."""

    def __init__(self, bad: Callable[[int], bool], how: str = "named") -> None:
        super().__init__()
        self.bad = bad
        self.how = how

    def write(self, batch: Batch) -> WriteResult:
        found = {i: "column shop must not be NULL" for i, r in enumerate(batch.records) if self.bad(int(str(r.value)))}
        if found and self.how != "named":
            raise (TooLarge if self.how == "large" else ValueError)("no")
        super().write(
            Batch(batch.header, batch.start, batch.end, [r for i, r in enumerate(batch.records) if i not in found])
        )
        return WriteResult(found) if found else ACCEPTED

    @property
    def values(self) -> list[int]:
        return sorted(int(str(record.value)) for record in self.records(Query()))


@pytest.fixture
def folder(home: Path) -> Folder:
    return Folder(home).open()


def append(spool: Spool, *values: int) -> None:
    for value in values:
        assert spool.append(encode_line(1_763_683_200_000_000_000, "counter", "n", value, {}), "n")


def record(folder: Folder, *values: int) -> None:
    """In a segment of its own, whose writer is gone."""
    spool = Spool(folder, segment_bytes=1 << 16)
    append(spool, *values)
    spool.close()


@pytest.mark.parametrize("how", ["named", "raised", "large"])
@pytest.mark.parametrize("count", [1, 2, 60])
def test_records_that_are_all_refused_are_kept_said_and_delivered_when_the_cause_is_mended(
    folder: Folder, count: int, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    record(folder, *range(count))
    backend = Judging(lambda _: True, how)
    agent = spool_agent(folder, backend)
    with caplog.at_level(logging.WARNING):
        assert agent.run("passed") is False
    assert account(folder).pending == {"n": count}
    assert DeadLetters(folder).state().letters == {}
    assert f"all of {count} records are refused" in caplog.text
    assert agent.report.heartbeat.action_needed, "a person must act, and `doctor` says so"
    backend.bad = lambda _: False
    assert spool_agent(folder, backend).run("passed")
    assert backend.values == list(range(count))


@pytest.mark.parametrize("how", ["named", "raised", "large"])
def test_a_record_that_is_refused_while_others_pass_is_dead(folder: Folder, how: str) -> None:
    record(folder, *range(10))
    backend = Judging(lambda value: value in (0, 7), how)
    assert spool_agent(folder, backend).run("passed")
    assert account(folder).dead == {"n": 2}
    assert backend.values == [1, 2, 3, 4, 5, 6, 8, 9]


def test_a_bad_record_that_ended_alone_holds_up_none_that_follow(folder: Folder) -> None:
    """Each short process has a segment of its own: the good ones go first, and are its witnesses."""
    for value in range(6):
        record(folder, value)
    backend = Judging(lambda value: value in (0, 3))
    assert spool_agent(folder, backend).run("empty")
    assert account(folder).dead == {"n": 2}
    assert backend.values == [1, 2, 4, 5]


def test_a_bad_record_of_a_living_writer_waits_for_the_next_good_one(folder: Folder) -> None:
    spool = Spool(folder, segment_bytes=1 << 16)
    append(spool, 0)
    backend = Judging(lambda value: value == 0)
    agent = spool_agent(folder, backend)
    agent.start()
    try:
        assert until(lambda: "all of 1 records" in agent.report.heartbeat.last_error)
        assert account(folder).dead == {}
        append(spool, 1)
        agent.wake()
        assert until(lambda: account(folder).dead == {"n": 1}, LONGEST_SECONDS + 5)
        assert backend.values == [1]
    finally:
        spool.close()
        agent.stop(5)


def test_many_bad_records_in_a_row_are_passed_by(folder: Folder) -> None:
    """More than one batch holds."""
    record(folder, *range(THREAD_RECORDS + 50))
    backend = Judging(lambda value: value < THREAD_RECORDS + 20)
    assert spool_agent(folder, backend, mode="thread").run("empty")
    assert account(folder).dead == {"n": THREAD_RECORDS + 20}
    assert len(backend.values) == 30


def test_a_batch_in_doubt_is_tried_again_at_once_when_another_record_was_taken() -> None:
    doubts, one, other = Doubts(), make_batch(*counters(3)), make_batch(*counters(3))
    assert not doubts.clears(one, 0)
    assert not doubts.ripe()
    assert not doubts.clears(other, 0)
    doubts.taken += 1
    assert doubts.ripe()
    assert doubts.clears(one, 1)
    doubts.settled(one)
    doubts.settled(other)
    assert not doubts
