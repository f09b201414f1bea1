"""Databases with a temper of their own, for what a well-behaved one does not show."""

from __future__ import annotations

from tallystick.backends.base import WriteResult
from tallystick.backends.sqlite import SqliteBackend
from tallystick.records import Batch


class PickySqlite(SqliteBackend):
    """SQLite that rejects the records named `bad`."""

    def write(self, batch: Batch) -> WriteResult:
        bad = {index: "it is bad" for index, record in enumerate(batch.records) if record.name == "bad"}
        result = super().write(batch.only(set(range(len(batch))) - bad.keys()) if bad else batch)
        assert not result.rejected
        return WriteResult(bad)
