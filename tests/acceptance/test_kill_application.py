"""kill -9 of the application, at moments drawn by chance: what was acknowledged is kept, and kept once."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.acceptance.stage import Stage, assert_complete, numbers_by, read_acknowledged, until

from tallystick.spool.dead import DeadLetters

THREADS = pytest.mark.parametrize("threads", [1, 4])


def retry_quarantined(stage: Stage, runs: int) -> None:
    quarantined = [letter for letter in stage.dead() if letter.reason.startswith("quarantined: the agent died 3 times")]
    assert len({letter.header.segment for letter in quarantined}) == len(quarantined) <= runs / 3
    DeadLetters(stage.folder()).retry([letter.id for letter in quarantined])
    stage.drain()


def returned(folder: Path) -> int:
    """How many calls of all runs have returned."""
    return sum(sum(read_acknowledged(path)) for path in folder.glob("run-*"))


@THREADS
def test_kill_9_loses_no_returned_call_and_doubles_none(
    stage: Stage, tmp_path: Path, thorough: bool, threads: int
) -> None:
    """The application delivers in a thread of its own meanwhile, so each kill hits an agent as well.

    All runs share a home: each one adopts what the killed ones left. A record that is alone in its segment when three
    runs in a row are killed on its account, as it seems, is quarantined; a person has it retried.
    """
    chance = random.Random(threads)
    runs = 100 if thorough else 8
    for run in range(runs):
        # Every third run is about to leave by itself when it is killed.
        leaving = ("--count", chance.randrange(200, 3000)) if run % 3 == 2 else ()
        program = stage.start("record", tmp_path / f"run-{run}", "--run", run, "--threads", threads, *leaving)
        program.expect("recording")
        if run == runs - 1:  # a slow machine has recorded little until now
            assert until(lambda: returned(tmp_path) > 100 * runs)
        time.sleep(10 ** chance.uniform(-4, -1))  # the random moment
        program.kill()
    stage.drain()
    retry_quarantined(stage, runs)

    records = stage.records()
    found = numbers_by(records, "run", "thread")
    total = 0
    for run in range(runs):
        for thread, acknowledged in enumerate(read_acknowledged(tmp_path / f"run-{run}")):
            assert_complete(found.pop((str(run), str(thread)), Counter()), acknowledged, (run, thread))
            total += acknowledged
    assert not found
    assert total > 100 * runs

    books = stage.books()
    assert sum(books.delivered.values()) == len(records)
    assert total <= len(records) <= total + threads * runs
    # A kill may tear the one line that is just being copied: it may be seen as a damaged line, and is no record.
    assert sum(books.dead.values()) == books.dead[""] <= runs
    assert not books.dropped
    assert not stage.segments()
