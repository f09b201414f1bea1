"""Of all the processes that one application has forked, one delivers for all, and who that is does not matter."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

from tests.acceptance.stage import Stage, assert_complete, numbers_by, read_acknowledged, until

from tallystick.agent import report
from tallystick.spool.account import account

WORKERS = 4


def test_of_prefork_workers_one_delivers_for_all_and_when_it_is_killed_another_takes_over(
    stage: Stage, tmp_path: Path
) -> None:
    acknowledged = tmp_path / "acknowledged"
    master = stage.start("workers", acknowledged, WORKERS)
    living = set(map(int, master.line().split()))
    folder = stage.folder()

    def deliverer() -> int:
        beat = report.read(folder)
        return beat.pid if beat is not None and beat.pid in living else 0

    assert until(lambda: min(read_acknowledged(acknowledged)) > 100)  # before the first is killed
    while living:
        assert until(deliverer), "nobody delivers"
        elected = deliverer()
        before = Counter(read_acknowledged(acknowledged))
        seen = account(folder).delivered["worked"]
        # Also what the other workers record from here on arrives: several times as much as one could have made.
        assert until(lambda seen=seen: account(folder).delivered["worked"] > seen + 200)  # type: ignore[misc]
        assert deliverer() == elected, "another delivers as well"
        assert Counter(read_acknowledged(acknowledged)) != before
        living.remove(elected)
        os.kill(elected, signal.SIGKILL)
    master.ends_well()
    stage.drain()

    found = numbers_by(stage.records("worked"), "who")
    for place, count in enumerate(read_acknowledged(acknowledged)):
        assert count > 100
        assert_complete(found.pop((str(place),)), count, place)
    assert not found
    assert not stage.segments()
    assert stage.books().delivered.total() == len(stage.records())
