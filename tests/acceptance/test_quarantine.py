"""A record that kills the agent: after three crashes it stands alone among the dead letters, and all others arrive."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from tests.acceptance.programs.databases import reports
from tests.acceptance.stage import Running, Stage

COUNT = 420
"""Records in the spool, all events; with batches of 200 that is three."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "own.db"


def leave_spool(stage: Stage, count: int) -> None:
    stage.start("leave_events", count).wait()


def crashes(stage: Stage, database: Path, *deadly: int, death: str = "kill", at_most: int) -> int:
    """How often the agent dies before it has delivered everything."""
    for crash in range(at_most + 1):
        agent = deliver(stage, database, *deadly, death=death)
        if agent.wait() == 0:
            return crash
        assert agent.wait() == -(signal.SIGABRT if death == "abort" else signal.SIGKILL), agent.errors
    raise AssertionError(f"the agent died {at_most + 1} times and is not over it")


def deliver(stage: Stage, database: Path, *deadly: int, death: str = "kill") -> Running:
    texts = [f"event {number}" for number in deadly]
    return stage.start(
        "agent", "--own-database", database, "--batch-records", 200, "--death", death, "--deadly", *texts
    )


def assert_settled(stage: Stage, database: Path, count: int, *deadly: int) -> None:
    assert sorted(int(value) for _, value, _ in reports(database)) == [
        n for n in range(1, count + 1) if n not in deadly
    ]
    numbers = sorted(int(json.loads(letter.line)[3]) for letter in stage.dead())
    assert numbers == sorted(deadly)
    assert all(letter.reason.startswith("quarantined: the agent died 3 times") for letter in stage.dead())
    books = stage.books()
    assert (books.accepted.total(), books.delivered.total()) == (count, count - len(deadly))
    assert not stage.segments()


@pytest.mark.parametrize(
    ("deadly", "death"),
    [
        (1, "kill"),
        (77, "abort"),
        (COUNT, "kill"),
        *(pytest.param(deadly, "abort", marks=pytest.mark.thorough) for deadly in (1, 199, 200, 201, COUNT)),
    ],
)
def test_a_record_that_kills_the_agent_is_alone_in_the_dead_letters_after_three_crashes(
    stage: Stage, database: Path, deadly: int, death: str
) -> None:
    """Wherever in its batch it stands."""
    leave_spool(stage, COUNT)
    assert crashes(stage, database, deadly, death=death, at_most=3) == 3
    assert_settled(stage, database, COUNT, deadly)


def test_a_record_that_kills_the_agent_and_has_no_neighbours_is_quarantined_too(stage: Stage, database: Path) -> None:
    leave_spool(stage, 1)
    assert crashes(stage, database, 1, at_most=3) == 3
    assert_settled(stage, database, 1, 1)


@pytest.mark.parametrize(
    "deadly",
    [
        (10, 150),
        *(pytest.param(several, marks=pytest.mark.thorough) for several in ((1, 2), (199, 200), (200, 201), (5, 6, 7))),
    ],
)
def test_several_deadly_records_are_each_quarantined(stage: Stage, database: Path, deadly: tuple[int, ...]) -> None:
    leave_spool(stage, COUNT)
    assert crashes(stage, database, *deadly, at_most=3 * len(deadly)) >= 3
    assert_settled(stage, database, COUNT, *deadly)
