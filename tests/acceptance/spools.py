"""A home that dead applications left behind, for the tests of agents. Real processes make it once; tests copy it."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest
from tests.acceptance.stage import Stage, assert_complete, numbers_by

WRITERS = 3
EACH = 900
"""Records that a dead writer left: two segments, the second one not sealed."""

Left = tuple[Path, Counter[str]]
"""The home, and what was recorded, by programs/leave_spool.py's own words."""


def leave(folder: Path) -> Left:
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


def assert_delivered(stage: Stage, recorded: Counter[str]) -> None:
    """Every good record is in the database once, every bad one is a dead letter, and nothing is left."""
    found = numbers_by(stage.records(), "run")
    for run in range(WRITERS):
        assert_complete(found.pop((str(run),)), EACH, f"run {run}")
    assert not found
    assert len(stage.dead()) == recorded["bad"]
    assert {letter.reason for letter in stage.dead()} == {"it is bad"}
    assert not stage.segments()


def assert_books_are_exact(stage: Stage, recorded: Counter[str]) -> None:
    """They say what the applications said themselves."""
    books = stage.books()
    assert books.accepted.total() == recorded["good"] + recorded["bad"]
    assert books.delivered.total() == recorded["good"]
    assert books.dead == {"bad": recorded["bad"]}
    assert books.refused == {"nan": {"impossible": recorded["refused"]}}
    assert not books.pending
    assert not books.dropped
