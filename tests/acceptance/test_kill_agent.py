"""kill -9 of the agent at each point of its work where that could matter: nothing lost, nothing twice, books exact."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.acceptance.programs.points import POINTS
from tests.acceptance.spools import Left, assert_books_are_exact, assert_delivered
from tests.acceptance.stage import Stage, assert_complete, number_of, read_acknowledged


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_of_the_agent_loses_nothing_and_doubles_nothing(
    stage: Stage, left: Left, thorough: bool, point: str
) -> None:
    """At the first time it comes to the point, and (thorough) once more later in what is left."""
    home, recorded = left
    chance = random.Random(point)
    for _ in range(10 if thorough else 1):
        shutil.copytree(home, stage.home)
        for at in (1, chance.randrange(1, 12)) if thorough else (1,):
            agent = stage.start("agent", "--batch-records", 200, "--strike", point, "--at", at)
            code = agent.wait()
            assert code == -signal.SIGKILL or (code == 0 and at > 1), agent.errors
        stage.drain()
        assert_delivered(stage, recorded)
        assert_books_are_exact(stage, recorded)
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
