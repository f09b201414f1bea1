"""Getting a batch to a backend, whatever it takes, and learning what became of each record."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.agent import delivery as delivery_module
from tallystick.agent.attempt import Attempt
from tallystick.agent.delivery import Deliverer, Stopped
from tallystick.agent.report import Report
from tallystick.agent.retry import FIRST_SECONDS, LONGEST_SECONDS, Backoff
from tallystick.backends.base import ACCEPTED, WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.errors import Misconfigured, TooLarge, Unavailable
from tallystick.records import Batch
from tallystick.spool.folder import Folder
from tallystick.testing import counters, make_batch

Answer = Callable[[Batch], WriteResult]


class Scripted(MemoryBackend):
    """Answers by a function; notes what it accepted, and each batch that it was asked to write."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[list[Any]] = []
        self.accepted: Counter[Any] = Counter()
        self.opened = 0
        self.failures_to_open = 0

    def open(self) -> None:
        if self.failures_to_open:
            self.failures_to_open -= 1
            raise RuntimeError("the driver said no")
        self.opened += 1

    def write(self, batch: Batch) -> WriteResult:
        self.asked.append([record.value for record in batch.records])
        result = self.answer(batch)
        settled = {*result.rejected, *result.kept}
        self.accepted.update(record.value for index, record in enumerate(batch.records) if index not in settled)
        return result


class Line:
    """A deliverer over a scripted backend, and the pauses it made."""

    def __init__(self, folder: Folder, answer: Answer, patience: int = 10_000) -> None:
        self.backend = Scripted(answer)
        self.pauses: list[float] = []
        self.report = Report(folder, "scripted", "thread")
        self.attempt = Attempt(folder)
        self.patience = patience
        self.deliverer = Deliverer(self.backend, self.attempt, self.report, self._pause)

    def _pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return len(self.pauses) < self.patience

    def deliver(self, count: int) -> dict[int, str]:
        return self.deliverer.deliver(make_batch(*counters(count)))


@pytest.fixture
def make_line(home: Path) -> Iterator[Callable[..., Line]]:
    made: list[Line] = []

    def make(answer: Answer, patience: int = 10_000) -> Line:
        made.append(Line(Folder(home).open(), answer, patience))
        return made[-1]

    yield make
    for line in made:
        line.attempt.close()


MakeLine = Callable[..., Line]


def accept(batch: Batch) -> WriteResult:
    return ACCEPTED


def fails_first(times: int, error: Exception) -> Answer:
    left = [times]

    def answer(batch: Batch) -> WriteResult:
        if left[0]:
            left[0] -= 1
            raise error
        return ACCEPTED

    return answer


def test_an_accepted_batch_is_written_once(make_line: MakeLine) -> None:
    line = make_line(accept)
    assert line.deliver(10) == {}
    assert line.backend.asked == [list(range(10))]
    assert line.pauses == []


def test_rejected_records_are_told_by_their_place_in_the_batch(make_line: MakeLine) -> None:
    line = make_line(lambda _: WriteResult({2: "no", 7: "never"}))
    assert line.deliver(10) == {2: "no", 7: "never"}
    assert len(line.backend.asked) == 1


def test_only_what_was_kept_is_sent_again(make_line: MakeLine) -> None:
    def answer(batch: Batch) -> WriteResult:
        kept = {i: "busy" for i, record in enumerate(batch.records) if record.value in (1, 3) and len(batch) > 2}
        return WriteResult({0: "no"} if batch.records[0].value == 0 else {}, kept, 0.5 if kept else None)

    line = make_line(answer)
    assert line.deliver(4) == {0: "no"}
    assert line.backend.asked == [[0, 1, 2, 3], [1, 3]]
    assert line.backend.accepted == {1: 1, 2: 1, 3: 1}
    assert line.pauses[0] >= 0.5


def test_a_kept_part_is_never_taken_for_the_whole_range(make_line: MakeLine) -> None:
    batches: list[Batch] = []

    def answer(batch: Batch) -> WriteResult:
        batches.append(batch)
        return WriteResult({}, {1: "busy"} if len(batch) == 3 else {})

    make_line(answer).deliver(3)
    first, second = batches
    assert (second.start, second.end) == (first.start, first.end)
    assert second.missing == (first.records[0].offset, first.records[2].offset)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_too_large_halves_until_it_fits(make_line: MakeLine, size: int) -> None:
    def answer(batch: Batch) -> WriteResult:
        if len(batch) > size:
            raise TooLarge("413")
        return ACCEPTED

    line = make_line(answer)
    assert line.deliver(50) == {}
    assert line.backend.accepted == dict.fromkeys(range(50), 1)
    assert [value for values in line.backend.asked if len(values) <= size for value in values] == list(range(50))
    assert line.pauses == []


def test_a_record_too_large_alone_is_rejected_with_the_reason(make_line: MakeLine) -> None:
    def answer(batch: Batch) -> WriteResult:
        if any(record.value == 3 for record in batch.records):
            raise TooLarge("413 Payload Too Large")
        return ACCEPTED

    (index, why), *rest = make_line(answer).deliver(8).items()
    assert (index, rest) == (3, [])
    assert "too large" in why
    assert "413" in why


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 120), st.data())
def test_an_error_that_names_nobody_finds_the_poison_and_spares_its_neighbours(
    make_line: MakeLine, count: int, data: st.DataObject
) -> None:
    poison = data.draw(st.sets(st.integers(0, count - 1), max_size=min(4, count - 1)))

    def answer(batch: Batch) -> WriteResult:
        if any(record.value in poison for record in batch.records):
            raise ValueError("bad batch")
        return ACCEPTED

    line = make_line(answer)
    rejected = line.deliver(count)
    assert set(rejected) == poison
    assert set(rejected.values()) <= {"ValueError: bad batch"}
    assert line.backend.accepted == {value: 1 for value in range(count) if value not in poison}
    assert len(line.backend.asked) <= 1 + 2 * 7 * max(1, len(poison))


@pytest.mark.parametrize("error", [Unavailable("down"), ConnectionResetError("reset"), TimeoutError("slow")])
def test_unavailable_keeps_all_and_tries_again(make_line: MakeLine, error: Exception) -> None:
    line = make_line(fails_first(20, error))
    assert line.deliver(5) == {}
    assert line.backend.asked == [[0, 1, 2, 3, 4]] * 21
    assert len(line.pauses) == 20


def test_after_a_failure_it_connects_again(make_line: MakeLine) -> None:
    line = make_line(fails_first(2, Unavailable("down")))
    line.deliver(1)
    line.deliver(1)
    assert line.backend.opened == 3


def test_a_backend_that_cannot_be_opened_is_held_against_no_record(make_line: MakeLine) -> None:
    line = make_line(accept)
    line.backend.failures_to_open = 3
    assert line.deliver(5) == {}
    assert len(line.pauses) == 3
    assert line.backend.asked == [[0, 1, 2, 3, 4]]


def test_when_told_to_stop_it_gives_nothing_up(make_line: MakeLine) -> None:
    line = make_line(fails_first(10_000, Unavailable("down")), patience=3)
    with pytest.raises(Stopped):
        line.deliver(5)
    assert line.backend.accepted == {}
    assert len(line.pauses) == 3


def test_retry_after_is_the_least_wait(make_line: MakeLine) -> None:
    line = make_line(fails_first(3, Unavailable("429", retry_after_seconds=7.5)))
    line.deliver(1)
    assert all(pause >= 7.5 for pause in line.pauses)


@pytest.mark.parametrize("asked", [99_999_999_999.0, 1e300, float("inf"), float("nan")])
def test_a_mistaken_retry_after_holds_delivery_up_for_a_quarter_of_an_hour_at_the_most(
    make_line: MakeLine, asked: float
) -> None:
    line = make_line(fails_first(1, Unavailable("503", retry_after_seconds=asked)))
    line.deliver(1)
    assert 0 <= line.pauses[0] <= 900


def test_a_pause_ends_with_success_and_starts_small_again(make_line: MakeLine) -> None:
    line = make_line(fails_first(12, Unavailable("down")))
    line.deliver(1)
    line.backend.answer = fails_first(1, Unavailable("down"))
    line.pauses.clear()
    line.deliver(1)
    assert line.pauses[0] <= FIRST_SECONDS


def test_failures_are_logged_and_not_at_each_try(make_line: MakeLine, caplog: pytest.LogCaptureFixture) -> None:
    make_line(fails_first(30, Unavailable("down"))).deliver(1)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([line for line in warnings if "does not take records" in line]) == 2
    assert "down" in warnings[0]
    assert delivery_module.logger.name == "tallystick.agent"


def test_the_log_says_that_a_database_is_gone_and_that_it_is_back(
    make_line: MakeLine, caplog: pytest.LogCaptureFixture
) -> None:
    line = make_line(fails_first(3, Unavailable("down")))
    line.deliver(1)
    line.deliver(1)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert ["does not take" in warnings[0], warnings[1]] == [
        True,
        "memory:// takes records again, after 3 failed tries",
    ]
    assert len(warnings) == 2


def test_dead_letters_are_logged_once_in_ten_seconds_for_each_reason(
    make_line: MakeLine, caplog: pytest.LogCaptureFixture
) -> None:
    line = make_line(lambda batch: WriteResult({index: f"bad {index % 2}" for index in range(1, len(batch))}))
    for _ in range(5):
        line.deliver(5)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 2
    assert all(line.startswith("2 records became dead letters, memory:// does not take them: bad ") for line in said)


def test_what_happened_is_in_the_report(make_line: MakeLine) -> None:
    line = make_line(fails_first(1, Misconfigured("no such database")))
    errors: list[tuple[str, bool]] = []
    failed = line.report.failed

    def note(error: BaseException) -> None:
        failed(error)
        errors.append((line.report.heartbeat.last_error, line.report.heartbeat.action_needed))

    line.report.failed = note  # type: ignore[method-assign]
    line.deliver(4)
    line.backend.answer = lambda _: WriteResult({0: "no"})
    line.deliver(4)
    beat = line.report.heartbeat
    assert errors == [("Misconfigured: no such database", True)]
    assert (beat.last_error, beat.action_needed) == ("", False)
    assert beat.totals["tallystick_agent_delivered_records_total"] == 7
    assert beat.totals["tallystick_agent_rejected_records_total"] == 1
    assert beat.totals["tallystick_agent_failed_writes_total"] == 1


# --- the waits ---


def test_waits_are_drawn_evenly_below_a_doubling_ceiling_up_to_a_minute() -> None:
    random.seed(3)
    for failures in range(40):
        ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * 2**failures)
        waits = []
        for _ in range(300):
            backoff = Backoff()
            backoff.failures = failures
            waits.append(backoff.failed())
        assert 0 <= min(waits) < 0.1 * ceiling
        assert 0.9 * ceiling < max(waits) <= ceiling
        assert 0.4 * ceiling < sum(waits) / 300 < 0.6 * ceiling


def test_a_backoff_never_overflows_and_never_ends() -> None:
    backoff = Backoff()
    assert all(backoff.failed() <= LONGEST_SECONDS for _ in range(5_000))
    assert backoff.failed(retry_after_seconds=300.0) >= 300
    backoff.succeeded()
    assert backoff.failed() <= FIRST_SECONDS
