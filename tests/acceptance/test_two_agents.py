"""Several agents for one pipeline: one delivers, whatever befalls it; none of the records is lost or there twice."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.acceptance.programs.databases import reports
from tests.acceptance.programs.points import POINTS
from tests.acceptance.spools import Left, assert_books_are_exact, assert_delivered
from tests.acceptance.stage import Running, Stage, assert_complete, number_of, read_acknowledged, until

from tallystick.agent import report


def start_agent(stage: Stage) -> Running:
    """`tallystick agent`, which delivers until it is stopped."""
    return stage.run_command([sys.executable, "-X", "faulthandler", "-m", "tallystick", "agent"])


def who_delivers(stage: Stage, pipeline: str = "default") -> int:
    """The process that said so last."""
    beat = report.read(stage.folder(pipeline))
    return 0 if beat is None else beat.pid


def delivers(stage: Stage, process: Running, pipeline: str = "default") -> bool:
    """Whether the process comes to deliver."""
    return until(lambda: who_delivers(stage, pipeline) == process.pid)


def stored(stage: Stage) -> int:
    try:
        return len(stage.records())
    except Exception:  # there is no database yet
        return 0


def assert_once(stage: Stage, acknowledged: Path) -> None:
    (count,) = read_acknowledged(acknowledged)
    records = stage.records()
    assert count > 100
    assert_complete(Counter(map(number_of, records)), count)
    books = stage.books()
    assert books.accepted.total() == books.delivered.total() == len(records)
    assert not stage.segments()


def test_an_agent_that_is_stopped_and_revived_again_and_again_loses_nothing_and_doubles_nothing(
    stage: Stage, tmp_path: Path, thorough: bool
) -> None:
    """A second one stands by meanwhile, and takes over when the first is killed."""
    application = stage.start("record", tmp_path / "acknowledged", "--deliver", "off", "--pace", 3000)
    application.expect("recording")
    first = start_agent(stage)
    assert delivers(stage, first)
    second = start_agent(stage)
    chance = random.Random(3)
    for _ in range(40 if thorough else 6):
        time.sleep(chance.uniform(0, 0.1))  # the random moment
        first.send(signal.SIGSTOP)
        time.sleep(chance.uniform(0, 0.3))  # the while
        first.send(signal.SIGCONT)
    assert who_delivers(stage) == first.pid
    first.kill()
    assert delivers(stage, second)
    application.kill()
    second.send(signal.SIGTERM)
    second.ends_well()
    stage.drain()
    assert_once(stage, tmp_path / "acknowledged")


WAITS = {"with rows written and not committed", "before the commit", "in the middle of a dead letter"}
"""Stopped there, it holds a lock of the database or of the dead letters, for which the other one must wait."""


SETTLING = {
    "before the result is processed",
    "before the dead letters",
    "after the dead letters",
    "before the positions are saved",
    "with the positions written aside",
}
"""Stopped there, it has looked for the last time whether it is elected, and puts its old notes over the other's: the
database stays exact, the books forget."""
OFTEN = {"before the write", "after the commit", "between rename and folder sync", "before a segment is removed"}
"""The others only with --thorough."""


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point in OFTEN else pytest.mark.thorough)
        for point in POINTS
        if point not in WAITS
    ],
)
def test_two_agents_that_both_believe_to_be_elected_lose_nothing_and_double_nothing(
    stage: Stage, left: Left, point: str
) -> None:
    """One is stopped at this point of its work; somebody deletes the lock files and starts another; the first wakes."""
    home, recorded = left
    shutil.copytree(home, stage.home)
    first = stage.start("agent", "--batch-records", 200, "--strike", point, "--at", 2, "--signal", "SIGSTOP")
    first.wait_until_stopped()
    for lock in stage.folder().path.glob("*.lock"):
        lock.unlink()
    stage.drain("--batch-records", 150)  # other batches than the first one's
    first.send(signal.SIGCONT)
    first.ends_well()
    stage.drain()

    assert_delivered(stage, recorded)
    if point not in SETTLING:
        assert_books_are_exact(stage, recorded)


def test_a_thread_gives_way_to_an_agent_process_and_takes_over_when_that_is_killed(
    stage: Stage, tmp_path: Path
) -> None:
    application = stage.start("record", tmp_path / "acknowledged", "--pace", 2000)
    application.expect("recording")
    assert delivers(stage, application)
    process = start_agent(stage)
    assert delivers(stage, process)
    seen = stored(stage)
    assert until(lambda: stored(stage) > seen)
    assert who_delivers(stage) == process.pid

    process.kill()
    assert delivers(stage, application)
    seen = stored(stage)
    assert until(lambda: stored(stage) > seen)
    application.kill()
    stage.drain()
    assert_once(stage, tmp_path / "acknowledged")


def test_a_thread_that_gave_way_while_the_database_was_down_takes_over_again(stage: Stage, tmp_path: Path) -> None:
    database, down = tmp_path / "own.db", tmp_path / "own.db.down"
    down.touch()
    application = stage.start(
        "record", tmp_path / "acknowledged", "--own-database", database, "--count", 500, "--then", "stay"
    )
    application.expect("recording")
    application.expect("recorded")
    assert delivers(stage, application, "own")
    process = stage.start("agent", "--pipeline", "own", "--own-database", database, "--for-ever")
    assert delivers(stage, process, "own")
    process.kill()
    assert delivers(stage, application, "own")

    down.unlink()
    assert until(lambda: database.exists() and len(reports(database)) == 500)
    application.tell("leave")
    application.ends_well()
    assert stage.books("own").delivered.total() == 500
