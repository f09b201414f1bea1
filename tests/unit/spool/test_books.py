"""The books are right at moments that last: between any two steps of an agent or writer that died there."""

from __future__ import annotations

import msgspec
from tests.unit.spool.conftest import deliver_all, line, write_segment

from tallystick.spool.account import account
from tallystick.spool.dropping import Dropped
from tallystick.spool.folder import Folder
from tallystick.spool.source import SpoolSource


def test_a_segment_that_is_noted_as_dropped_and_still_there_is_counted_once(
    folder: Folder, source: SpoolSource
) -> None:
    """Its writer died between the note and the removal; before the next agent, and after it."""
    write_segment(folder, "a", line(1), line(2))
    folder.dropped("a").write_bytes(msgspec.json.encode(Dropped(0, {"n": 2})))
    for _ in range(2):
        books = account(folder)
        assert (books.accepted, books.dropped, books.pending.total()) == ({"n": 2}, {"drop_old": {"n": 2}}, 0)
        assert books.imbalance() == {}
        assert deliver_all(source) == []
        source.tidy()
    assert folder.segment_ids() == folder.dropped_ids() == []
