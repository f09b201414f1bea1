"""kill -9 of the agent at each point of its work where that could matter: nothing lost, nothing twice, books exact."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.acceptance.programs.points import POINTS
from tests.acceptance.stage import Stage, assert_complete, number_of, numbers_by, read_acknowledged

WRITERS = 3
EACH = 900
"""Records a dead writer left: two segments, the second one not sealed."""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """A home that dead applications left behind, and what they recorded. Real processes make it once; tests copy it."""
    folder = tmp_path_factory.mktemp("left")
    stage = Stage(folder / "home", folder)
    recorded: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLYSTICK_HOME", str(stage.home))
        for run in range(WRITERS):
            program = stage.start("leave_spool", run, EACH)
            recorded.update(json.loads(program.line()))
            assert program.wait() == -signal.SIGKILL
    stage.clean_up()
    return stage.home, recorded


def assert_all_is_settled(stage: Stage, recorded: Counter[str]) -> None:
    found = numbers_by(stage.records(), "run")
    for run in range(WRITERS):
        assert_complete(found.pop((str(run),)), EACH, f"run {run}")
    assert not found
    assert len({letter.id for letter in stage.dead()}) == recorded["bad"]
    assert {letter.reason for letter in stage.dead()} == {"it is bad"}

    books = stage.books()
    assert books.accepted.total() == recorded["good"] + recorded["bad"]
    assert books.delivered.total() == recorded["good"]
    assert books.dead == {"bad": recorded["bad"]}
    assert books.refused == {"nan": {"impossible": recorded["refused"]}}
    assert not books.pending
    assert not books.dropped
    assert not stage.segments()


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_of_the_agent_loses_nothing_and_doubles_nothing(
    stage: Stage, left: tuple[Path, Counter[str]], thorough: bool, point: str
) -> None:
    """At the first time it comes to the point, and once more later in what is left."""
    home, recorded = left
    chance = random.Random(point)
    for _ in range(10 if thorough else 1):
        shutil.copytree(home, stage.home)
        for at in (1, chance.randrange(1, 12)):
            agent = stage.start("agent", "--batch-records", 200, "--strike", point, "--at", at)
            code = agent.wait()
            assert code == -signal.SIGKILL or (code == 0 and at > 1), agent.errors
        stage.drain()
        assert_all_is_settled(stage, recorded)
        shutil.rmtree(stage.home)


def test_kill_9_of_agents_one_after_another_loses_nothing_while_an_application_records(
    stage: Stage, tmp_path: Path, thorough: bool
) -> None:
    application = stage.start("record", tmp_path / "acknowledged", "--deliver", "off", "--pace", 20_000)
    application.expect("recording")
    chance = random.Random(7)
    for _ in range(60 if thorough else 6):
        agent = stage.start("agent", "--for-ever")
        agent.expect("delivering")
        time.sleep(chance.uniform(0, 0.2))  # the random moment
        agent.kill()
    application.kill()
    stage.drain()

    (acknowledged,) = read_acknowledged(tmp_path / "acknowledged")
    records = stage.records()
    assert_complete(Counter(map(number_of, records)), acknowledged)
    assert acknowledged > 1000
    books = stage.books()
    assert books.delivered.total() == len(records)
    assert not stage.segments()
