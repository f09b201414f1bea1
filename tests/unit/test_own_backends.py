"""What becomes of the records of a backend of one's own, by what its `report` raises."""

from __future__ import annotations

import pytest

from tallystick.backends import BaseBackend
from tallystick.errors import Unavailable
from tallystick.records import Value
from tallystick.testing import counters, make_batch


class Moody(BaseBackend):
    """Raises this at the record of this index, and keeps the ids of those before."""

    def __init__(self, error: Exception, index: int) -> None:
        self._error = error
        self._index = index
        self.reported: list[str] = []

    def report(self, name: str, kind: str, value: Value, tags: dict[str, str], id: str) -> None:
        if len(self.reported) == self._index:
            self._index = -1
            raise self._error
        self.reported.append(id)


@pytest.mark.parametrize("error", [Unavailable("down"), ConnectionError("reset"), TimeoutError("slow")])
def test_a_database_that_does_not_answer_keeps_the_record_and_all_that_follow(error: Exception) -> None:
    batch = make_batch(*counters(5))
    backend = Moody(error, 2)
    result = backend.write(batch)
    assert not result.rejected
    assert list(result.kept) == [2, 3, 4]
    assert str(error) in result.kept[2]
    assert backend.reported == [record.id for record in batch.records[:2]]


def test_any_other_error_rejects_the_record_alone_with_its_text() -> None:
    batch = make_batch(*counters(5))
    backend = Moody(ValueError("no such plan"), 2)
    result = backend.write(batch)
    assert result.rejected == {2: "ValueError: no such plan"}
    assert not result.kept
    assert backend.reported == [record.id for record in batch.records if record is not batch.records[2]]


def test_the_tags_that_are_reported_are_a_copy() -> None:
    class Adds(BaseBackend):
        def report(self, name: str, kind: str, value: Value, tags: dict[str, str], id: str) -> None:
            tags["seen"] = "true"

    batch = make_batch(*counters(2), tags={"env": "prod"})
    before = [dict(record.tags) for record in batch.records]
    Adds().write(batch)
    assert [record.tags for record in batch.records] == before
