"""A backend of one's own, in twenty lines, proven by the parts of the contract that it can keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from tallystick.backends import BaseBackend
from tallystick.backends.base import Backend
from tallystick.errors import QueryError
from tallystick.queries import Query
from tallystick.records import Record, Value
from tallystick.testing.idempotency import Idempotency


class FolderBackend(BaseBackend):
    """One file a record, named by its id: writing it again changes nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def report(self, name: str, kind: str, value: Value, tags: dict[str, str], id: str) -> None:
        content = {"name": name, "kind": kind, "value": value, "tags": tags, "id": id}
        (self.folder / f"{id}.json").write_text(json.dumps(content), encoding="utf-8")


class TestOwnBackend(Idempotency):
    fields = ("name", "kind", "value", "tags", "id")
    answers_queries = False
    replaces_own_ids = False
    many: ClassVar[int] = 2_000

    def make_backend(self, tmp_path: Path) -> Backend:
        return FolderBackend(tmp_path / "records")

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, FolderBackend)
        return FolderBackend(backend.folder)

    def stored(self, backend: Backend, query: Query | None = None, newest: int | None = None) -> list[Record]:
        assert isinstance(backend, FolderBackend)
        found = [json.loads(file.read_text(encoding="utf-8")) for file in backend.folder.iterdir()]
        return [Record(0, r["kind"], r["name"], r["value"], r["tags"], own_id=r["id"]) for r in found]


def test_a_question_to_a_backend_that_has_no_answers_says_so(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="FolderBackend cannot answer queries"):
        FolderBackend(tmp_path).query(Query("hits"))
