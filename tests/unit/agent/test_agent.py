"""Who delivers, when it stops, what it says of itself; and the note that finds a deadly record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tallystick.agent import agent as agent_module
from tallystick.agent import report as report_module
from tallystick.agent.attempt import CRASHES, Attempt
from tallystick.agent.election import Election, somebody_delivers
from tallystick.agent.report import Report
from tallystick.backends.base import ACCEPTED, WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.codec import encode_line
from tallystick.errors import Unavailable
from tallystick.pipelines.agents import spool_agent
from tallystick.records import Batch
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder
from tallystick.spool.spool import Spool
from tallystick.testing import counters, make_batch


class Noting(MemoryBackend):
    def __init__(self) -> None:
        super().__init__()
        self.values: list[object] = []
        self.closed = 0
        self.answer: Callable[[Batch], WriteResult] = lambda _: ACCEPTED

    def write(self, batch: Batch) -> WriteResult:
        result = self.answer(batch)
        self.values += [record.value for index, record in enumerate(batch.records) if index not in result.rejected]
        return result

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def folder(home: Path) -> Folder:
    return Folder(home).open()


def record(folder: Folder, *values: int) -> None:
    spool = Spool(folder, segment_bytes=4096)
    for value in values:
        assert spool.append(encode_line(1_763_683_200_000_000_000, "counter", "n", value, {}), "n")
    spool.close()


# --- the election ---


def test_one_of_many_is_elected_and_when_it_resigns_another(folder: Folder) -> None:
    candidates = [Election(folder, as_process=False) for _ in range(5)]
    assert [candidate.won() for candidate in candidates] == [True, False, False, False, False]
    assert somebody_delivers(folder)
    candidates[0].resign()
    assert not somebody_delivers(folder)
    assert [candidate.won() for candidate in candidates[1:]] == [True, False, False, False]
    candidates[1].resign()


def test_a_process_goes_before_every_thread(folder: Folder) -> None:
    thread, process = Election(folder, as_process=False), Election(folder, as_process=True)
    assert thread.won()
    assert not process.won(), "the thread has still to give way"
    assert not thread.won()
    assert process.won()
    assert not thread.won()
    process.resign()
    assert thread.won()
    thread.resign()


def test_of_two_processes_one_delivers(folder: Folder) -> None:
    first, second = Election(folder, as_process=True), Election(folder, as_process=True)
    assert first.won()
    assert not second.won()
    first.resign()
    assert second.won()
    second.resign()


def test_who_lost_the_lock_file_knows_at_the_next_look(folder: Folder) -> None:
    first, second = Election(folder, as_process=False), Election(folder, as_process=False)
    assert first.won()
    folder.agent_lock.unlink()
    assert second.won()
    assert not first.won()
    second.resign()


# --- the agent ---


def test_it_delivers_until_the_spool_is_empty(folder: Folder) -> None:
    record(folder, *range(500))
    backend = Noting()
    assert spool_agent(folder, backend).run("empty")
    assert backend.values == list(range(500))
    assert backend.closed == 1
    assert folder.segment_ids() == []
    assert not somebody_delivers(folder)


def test_one_pass_leaves_to_another_what_another_delivers(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "GIVE_WAY_SECONDS", 0.2)
    record(folder, 1)
    other = Election(folder, as_process=True)
    assert other.won()
    backend = Noting()
    assert spool_agent(folder, backend).run("passed") is False
    assert backend.values == []
    other.resign()


def test_one_pass_waits_for_an_applications_thread_to_give_way(folder: Folder) -> None:
    record(folder, 1, 2)
    application = Election(folder, as_process=False)
    assert application.won()

    def give_way() -> None:
        while application.kept():  # no process of its own has announced itself yet
            threading.Event().wait(0.01)
        application.resign()

    giving_way = threading.Thread(target=give_way)
    giving_way.start()
    backend = Noting()
    assert spool_agent(folder, backend).run("passed") is True
    giving_way.join()
    assert backend.values == [1, 2]


def test_one_pass_ends_when_the_backend_does_not_answer_and_keeps_all(folder: Folder) -> None:
    record(folder, 1, 2, 3)
    backend = Noting()

    def down(batch: Batch) -> WriteResult:
        raise Unavailable("down", retry_after_seconds=1000)

    backend.answer = down
    assert spool_agent(folder, backend).run("passed") is False
    assert account(folder).pending == {"n": 3}
    backend.answer = lambda _: ACCEPTED
    assert spool_agent(folder, backend).run("passed") is True
    assert backend.values == [1, 2, 3]


def test_a_thread_stops_in_time_also_while_it_waits_for_its_backend(folder: Folder) -> None:
    record(folder, 1, 2, 3)
    backend, asked = Noting(), threading.Event()

    def down(batch: Batch) -> WriteResult:
        asked.set()
        raise Unavailable("down", retry_after_seconds=1000)

    backend.answer = down
    agent = spool_agent(folder, backend, mode="thread")
    agent.start()
    agent.start()
    assert asked.wait(10)
    assert agent.stop(timeout_seconds=0.2)
    assert account(folder).pending == {"n": 3}
    assert not somebody_delivers(folder)


def test_a_thread_takes_at_most_200_records_at_once_and_a_process_what_it_was_told(folder: Folder) -> None:
    sizes: list[int] = []

    def note(batch: Batch) -> WriteResult:
        sizes.append(len(batch))
        return ACCEPTED

    for mode, most in (("thread", 200), ("process", 1_000)):
        spool = Spool(folder, segment_bytes=1 << 20)
        for value in range(3_000):
            spool.append(encode_line(1, "counter", "n", value, {}), "n")
        spool.close()
        backend = Noting()
        backend.answer = note
        sizes.clear()
        agent = spool_agent(folder, backend, mode="thread" if mode == "thread" else "process", batch_records=1_000)
        assert agent.run("empty")
        assert max(sizes) == most


def test_letters_that_somebody_retries_are_delivered_or_rejected_again(folder: Folder) -> None:
    record(folder, 0, 1, 2, 3)
    backend = Noting()
    backend.answer = lambda batch: WriteResult(dict.fromkeys(range(1, len(batch)), "no"))
    assert spool_agent(folder, backend).run("empty")
    dead = DeadLetters(folder)
    first, second, third = dead.state().letters
    dead.retry([first, second])
    backend.answer = lambda batch: WriteResult({0: "still no"} if batch.records[0].value == 2 else {})
    assert spool_agent(folder, backend).run("empty")
    state = dead.state()
    assert backend.values == [0, 1]
    assert {key: found.reason for key, found in state.letters.items()} == {second: "still no", third: "no"}
    assert state.retry == {}
    assert account(folder).imbalance() == {}


def test_a_chore_that_fails_stops_no_delivery(folder: Folder) -> None:
    record(folder, *range(10))
    backend = Noting()

    def fail(report: Report) -> None:
        raise OSError("no notes today")

    assert spool_agent(folder, backend, chores=[fail]).run("empty")
    assert backend.values == list(range(10))


def test_interval_syncs_what_was_written_and_never_does_not(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("tallystick.spool.disk.sync_file", synced.append)
    for seconds, expected in ((0.0, True), (None, False)):
        spool = Spool(folder, segment_bytes=4096)
        spool.append(encode_line(1, "counter", "n", 1, {}), "n")
        synced.clear()
        assert spool_agent(folder, Noting(), fsync_seconds=seconds).run("empty")
        assert any(path.parent == folder.segments for path in synced) is expected
        spool.close()


@pytest.mark.parametrize("name", ["agent.lock", "process.lock"])
def test_what_stops_delivery_is_said_once_and_without_a_traceback(
    folder: Folder, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "ELECTION_SECONDS", 0.05)
    record(folder, 1)
    (folder.path / name).mkdir()
    agent = spool_agent(folder, Noting(), mode="thread")
    tries: list[BaseException] = []
    monkeypatch.setattr(agent.report, "failed", tries.append)
    began = time.monotonic()
    agent.start()
    while len(tries) < 5 and time.monotonic() < began + 10:
        agent.wake()
        threading.Event().wait(0.001)
    assert len(tries) >= 5
    assert time.monotonic() - began >= 4 * 0.05, "whoever wakes it does not cut the wait short"
    assert agent.stop(0.1)
    (said,) = [one for one in caplog.records if one.name == "tallystick.agent"]
    assert str(folder.path / name) in said.getMessage()
    assert said.exc_info is None


@pytest.mark.parametrize("name", ["attempt", "dead.jsonl"])
def test_a_foreign_thing_in_the_place_of_notes_or_dead_letters_stops_no_delivery(folder: Folder, name: str) -> None:
    record(folder, 1)
    (folder.path / name).mkdir()
    target = Noting()
    assert spool_agent(folder, target).run("empty")


# --- the report ---


def test_the_heartbeat_is_read_back_and_garbage_is_none(folder: Folder) -> None:
    assert report_module.read(folder) is None
    report = Report(folder, "sqlite:///x", "process")
    report.wrote(5, 0.1)
    report.failed(Unavailable("down"))
    found = report_module.read(folder)
    assert found is not None
    assert (found.target, found.mode, found.last_error) == ("sqlite:///x", "process", "Unavailable: down")
    assert found.totals["tallystick_agent_delivered_records_total"] == 5
    folder.agent.write_bytes(b'{"pid":"x"}')
    assert report_module.read(folder) is None


def test_a_report_is_written_at_most_once_a_second_unless_something_failed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[Path] = []
    monkeypatch.setattr("tallystick.spool.disk.replace_file", lambda path, _: writes.append(path))
    report = Report(folder, "x", "thread")
    for _ in range(50):
        report.write()
    assert len(writes) == 1
    report.failed(Unavailable("down"))
    assert len(writes) == 2


# --- finding a deadly record ---


def die_delivering(folder: Folder, batch: Batch, deadly: set[object]) -> list[object]:
    """An agent whose process dies when it writes one of these; what it delivered before."""
    attempt = Attempt(folder)
    delivered: list[object] = []
    parts, condemned = attempt.parts(batch)
    for part in parts:
        attempt.begin(part)
        values = [one.value for one in part.records]
        if deadly.intersection(values):
            return delivered  # without a word: the note stays as it is
        delivered += values
        attempt.end()
    for part in condemned:
        attempt.quarantine(part)
    attempt.close()
    return delivered


def test_after_a_crash_the_range_is_delivered_record_by_record_the_culprit_last(folder: Folder) -> None:
    batch = make_batch(*counters(10), segment="a")
    assert die_delivering(folder, batch, {6}) == []
    assert die_delivering(folder, batch, {6}) == [0, 1, 2, 3, 4, 5]
    assert die_delivering(folder, batch, {6}) == [0, 1, 2, 3, 4, 5, 7, 8, 9]


def test_a_record_at_which_three_crashes_happened_is_not_tried_again_and_its_neighbours_are(folder: Folder) -> None:
    batch = make_batch(*counters(10), segment="a")
    for _ in range(CRASHES):
        die_delivering(folder, batch, {6})
    attempt = Attempt(folder)
    parts, condemned = attempt.parts(batch)
    assert [part.records[0].value for part in condemned] == [6]
    assert sorted(one.value for part in parts for one in part.records) == [0, 1, 2, 3, 4, 5, 7, 8, 9]  # type: ignore[type-var]
    assert "died 3 times" in attempt.quarantine(condemned[0])
    attempt.close()


def test_a_stop_on_purpose_accuses_nobody(folder: Folder) -> None:
    batch = make_batch(*counters(10), segment="a")
    for _ in range(5):
        attempt = Attempt(folder)
        attempt.begin(batch)
        attempt.close()
    parts, condemned = Attempt(folder).parts(batch)
    assert parts == [batch]
    assert condemned == []


def test_another_segments_records_are_not_suspect(folder: Folder) -> None:
    die_delivering(folder, make_batch(*counters(10), segment="a"), {3})
    other = make_batch(*counters(10), segment="b")
    attempt = Attempt(folder)
    assert attempt.parts(other) == ([other], [])
    attempt.close()


@pytest.mark.parametrize("damage", ["cut", "digit", "nonsense", "empty"])
def test_a_damaged_note_accuses_nobody(folder: Folder, damage: str) -> None:
    batch = make_batch(*counters(10), segment="a")
    for _ in range(3):
        die_delivering(folder, batch, {6})
    raw = folder.attempt.read_bytes()
    damaged = {
        "cut": raw[:60],
        "digit": raw.replace(b'"crashes":2', b'"crashes":9').replace(b'"crashes":1', b'"crashes":9'),
        "nonsense": b"[" * 4096,
        "empty": b"",
    }[damage]
    assert damaged != raw
    folder.attempt.write_bytes(damaged)
    attempt = Attempt(folder)
    assert attempt.parts(batch) == ([batch], [])
    attempt.close()
