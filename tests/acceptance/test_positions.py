"""Positions are a hint: whatever becomes of their file, delivery starts, and the ledger keeps every record single."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from tests.acceptance.stage import Stage, assert_complete, number_of

from tallystick import Metrics
from tallystick.agent import report

HALF = 300

Change = Callable[[bytes, bytes], bytes | None]
"""From what the file holds now and what it held earlier to what it will hold; None: it is gone."""

LOSSES: dict[str, tuple[Change, int]] = {
    "missing": (lambda *_: None, 2 * HALF),
    "empty": (lambda *_: b"", 2 * HALF),
    "stale": (lambda *files: files[1], HALF),
    "garbled": (lambda *files: bytes(reversed(files[0])), 2 * HALF),
    "ahead of the truth": (lambda *files: re.sub(rb'("at":{"\w+":)', rb"\g<1>9", files[0]), 2 * HALF),
}


@pytest.mark.parametrize(("change", "again"), LOSSES.values(), ids=LOSSES)
def test_a_lost_stale_or_garbled_position_file_costs_a_repeated_delivery_and_no_record_is_lost_or_doubled(
    stage: Stage, change: Change, again: int
) -> None:
    """The writer lives, so its segment is there to be read again."""
    file = stage.folder().positions
    with Metrics(home=stage.home, deliver="off") as metrics:
        for number in range(1, HALF + 1):
            metrics.increment("n", number)
        stage.drain()
        earlier = file.read_bytes()
        for number in range(HALF + 1, 2 * HALF + 1):
            metrics.increment("n", number)
        stage.drain()
        assert_complete(Counter(map(number_of, stage.records())), 2 * HALF)

        now = file.read_bytes()
        changed = change(now, earlier)
        assert changed != now
        file.unlink() if changed is None else file.write_bytes(changed)
        stage.drain()
        beat = report.read(stage.folder())
        assert beat is not None
        assert beat.totals["tallystick_agent_delivered_records_total"] == again, "that many were delivered once more"
        assert_complete(Counter(map(number_of, stage.records())), 2 * HALF)
        assert stage.books().delivered == {"n": 2 * HALF}
    stage.drain()
    assert_complete(Counter(map(number_of, stage.records())), 2 * HALF)
    assert not stage.segments()
