"""The backends that need no server, against the contract."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest
from tests.contract.promises import NO_SERVER

from tallystick.backends.base import Backend
from tallystick.backends.memory import MemoryBackend
from tallystick.backends.parquet import ParquetBackend
from tallystick.backends.sqlite import SqliteBackend
from tallystick.errors import Misconfigured
from tallystick.queries import Query
from tallystick.testing import BackendContract, counters, make_batch

UNTYPED = "a value may be of any type in every record"
NOBODY = "there is nothing that a person could mend"


class TestMemory(BackendContract):
    outlives_the_process = False
    does_not_apply: ClassVar[dict[str, str]] = {
        **NO_SERVER,
        "a conflict of types rejects the conflicting records alone": UNTYPED,
        "what a person must mend keeps everything and says the remedy": NOBODY,
        "a schema that was changed or lost is noticed and mended": "there is no schema",
    }

    def make_backend(self, tmp_path: Path) -> Backend:
        return MemoryBackend()

    def reopen(self, backend: Backend) -> Backend:
        return backend


class TestSqlite(BackendContract):
    does_not_apply: ClassVar[dict[str, str]] = {
        **NO_SERVER,
        "a conflict of types rejects the conflicting records alone": UNTYPED,
    }

    def make_backend(self, tmp_path: Path) -> Backend:
        return SqliteBackend(tmp_path / "records.db")

    def reopen(self, backend: Backend) -> Backend:
        return SqliteBackend(backend.path)  # type: ignore[attr-defined]

    def test_a_schema_that_was_changed_or_lost_is_noticed_and_mended(self, tmp_path: Path) -> None:
        backend = SqliteBackend(tmp_path / "records.db")
        backend.open()
        backend.write(make_batch(*counters(3)))
        backend.close()
        with closing(sqlite3.connect(backend.path)) as connection, connection:
            connection.execute("DROP INDEX series_name")
        (line,) = [line for line in backend.check() if not line.ok]
        assert "series_name" in line.what
        assert "repair it by hand" in line.remedy
        backend.path.unlink()
        assert [line.ok for line in backend.check()] == [False]
        assert backend.setup() == [f"created the tables of schema 1 in {backend.path}"]
        assert [line for line in backend.check() if not line.ok] == []

    def test_what_a_person_must_mend_keeps_everything_and_says_the_remedy(self, tmp_path: Path) -> None:
        backend = SqliteBackend(tmp_path / "records.db")
        backend.open()
        with closing(sqlite3.connect(backend.path)) as connection, connection:
            connection.execute("UPDATE meta SET value = 7 WHERE key = 'schema'")
        backend.close()
        with pytest.raises(Misconfigured, match="upgrade tallystick"):
            backend.write(make_batch(*counters(3)))
        with closing(sqlite3.connect(backend.path)) as connection, connection:
            connection.execute("UPDATE meta SET value = 1 WHERE key = 'schema'")
        assert not backend.write(make_batch(*counters(3))).rejected


class TestParquetFolder:
    """Parquet's contract is in `test_parquet.py`."""

    does_not_apply: ClassVar[dict[str, str]] = {
        **NO_SERVER,
        "a conflict of types rejects the conflicting records alone": UNTYPED,
    }

    def test_a_schema_that_was_changed_or_lost_is_noticed_and_mended(self, tmp_path: Path) -> None:
        backend = ParquetBackend(tmp_path / "store")
        backend.open()
        batch = make_batch(*counters(3))
        backend.write(batch)
        (backend.path / "_tallystick.json").unlink()
        (line,) = backend.check()
        assert not line.ok
        assert "tallystick setup" in line.remedy
        assert backend.setup()
        assert [line for line in backend.check() if not line.ok] == []
        backend.write(batch)
        assert len(list(backend.records(Query()))) == 3
