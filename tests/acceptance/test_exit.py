"""Leaving right after recording, with a database that is slow or never answers: soon, and nothing is lost."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
from tests.acceptance.programs.databases import reports
from tests.acceptance.stage import Running, Stage, assert_complete

COUNT = 5000
LONGEST_SECONDS = 2.5
"""From the last record to the end of the process, the interpreter's own leave-taking included."""

NEVER = float("inf")

WAYS = {
    "end": (None, 0),
    "exception": (None, 1),
    "thread": (None, 0),
    "interrupt": (signal.SIGINT, -signal.SIGINT),
    "sigterm": (signal.SIGTERM, -signal.SIGTERM),
    "sigterm and handler": (signal.SIGTERM, 3),
}
"""How the program leaves (see programs/leaving.py): the signal that it gets, and its exit code."""


class Leaver:
    """A program that leaves one way, with a pipeline and a database of its own."""

    def __init__(self, stage: Stage, folder: Path, way: str, count: int = COUNT) -> None:
        self.stage = stage
        self.way = way
        self.count = count
        self.pipeline = f"{way.replace(' ', '_')}_{count}"
        self.database = folder / f"{self.pipeline}.db"

    def start(self, seconds: float, run: object = 0, *more: str) -> tuple[Running, float]:
        """The program, which is about to leave, and when it had recorded the last record."""
        options = ("--pipeline", self.pipeline, "--seconds", seconds, "--run", run, "--count", self.count, *more)
        program = self.stage.start("leaving", self.database, self.way, *options)
        recorded = float(program.expect("recorded"))
        number, _ = WAYS[self.way]
        if number is not None:
            program.send(number)
        return program, recorded

    def leave(self, seconds: float, run: object = 0, *more: str) -> float:
        return self.took(*self.start(seconds, run, *more))

    def took(self, program: Running, recorded: float) -> float:
        """Seconds from the last record to the end of the process."""
        assert program.wait() == WAYS[self.way][1], program.errors
        assert "Fatal Python error" not in program.errors
        return program.ended_at - recorded

    def assert_nothing_is_lost(self, runs: int = 1) -> None:
        """The next process of the application delivers what is left: each record once, none is a dead letter."""
        options = ("--pipeline", self.pipeline, "--run", "next", "--count", 1)
        self.stage.start("leaving", self.database, "end", *options).ends_well()
        if runs > 1:  # that may be more than a process of one record has the time for
            self.stage.drain("--pipeline", self.pipeline, "--own-database", self.database)
        found: dict[str, Counter[int]] = {}
        for _, value, run in reports(self.database):
            found.setdefault(run, Counter())[int(value)] += 1
        for number in range(runs):
            assert_complete(found.pop(str(number)), self.count, f"{self.way}, run {number}")
        assert found == {"next": {1: 1}}
        books = self.stage.books(self.pipeline)
        assert books.accepted.total() == books.delivered.total() == runs * self.count + 1
        assert not self.stage.dead(self.pipeline)


def leave_side_by_side(leavers: list[Leaver], run: int = 0) -> dict[str, float]:
    """Seconds by pipeline; each leaves while those before it still wait for their database."""
    started = [leaver.start(NEVER, run) for leaver in leavers]
    return {leaver.pipeline: leaver.took(*begun) for leaver, begun in zip(leavers, started, strict=True)}


def test_a_process_leaves_soon_and_loses_nothing_when_its_database_never_answers(stage: Stage, tmp_path: Path) -> None:
    leavers = [Leaver(stage, tmp_path, way) for way in WAYS]
    took = leave_side_by_side(leavers)
    assert max(took.values()) <= LONGEST_SECONDS, took
    for leaver in leavers:
        leaver.assert_nothing_is_lost()


def test_leaving_again_and_again_while_the_database_hangs_puts_nothing_into_quarantine(
    stage: Stage, tmp_path: Path, thorough: bool
) -> None:
    # A record alone in its segment has no neighbours that could speak for it: there, only good order helps.
    leavers = [Leaver(stage, tmp_path, "end", 1), Leaver(stage, tmp_path, "sigterm")]
    if thorough:
        leavers += [Leaver(stage, tmp_path, way) for way in WAYS if way != "sigterm"]
    for run in range(4):
        took = leave_side_by_side(leavers, run)
        assert max(took.values()) <= LONGEST_SECONDS, took
    for leaver in leavers:
        leaver.assert_nothing_is_lost(runs=4)


@pytest.mark.parametrize("way", ["end", "sigterm and handler"])
def test_a_process_leaves_soon_and_loses_nothing_when_its_database_takes_200_ms_a_batch(
    stage: Stage, tmp_path: Path, way: str
) -> None:
    leaver = Leaver(stage, tmp_path, way)
    assert leaver.leave(0.2) <= LONGEST_SECONDS
    assert 0 < len(reports(leaver.database)) < COUNT  # it used its time, and that was not enough
    leaver.assert_nothing_is_lost()


@pytest.mark.parametrize("count", [1, COUNT])
def test_a_process_whose_database_answers_delivers_everything_before_it_leaves(
    stage: Stage, tmp_path: Path, thorough: bool, count: int
) -> None:
    """Delivery takes a fraction of a second here; the two seconds are a limit, not a delay."""
    leaver = Leaver(stage, tmp_path, "end", count)
    for run in range(1, 21 if thorough else 3):
        assert leaver.leave(0.0, run) <= 1.5
        assert len(reports(leaver.database)) == run * count
    assert not stage.segments(leaver.pipeline)


def test_what_was_recorded_since_the_agent_last_looked_is_delivered_before_the_process_leaves(
    stage: Stage, tmp_path: Path
) -> None:
    """The agent has found nothing, and is about to look again, when everything is recorded and the process leaves."""
    leaver = Leaver(stage, tmp_path, "end", 10)
    assert leaver.leave(0.0, 0, "--slow-look") <= LONGEST_SECONDS
    assert len(reports(leaver.database)) == 10
