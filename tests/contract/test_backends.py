"""The backends that need no server, against the contract."""

from __future__ import annotations

from pathlib import Path

from tallystick.backends.base import Backend
from tallystick.backends.memory import MemoryBackend
from tallystick.backends.sqlite import SqliteBackend
from tallystick.testing import BackendContract


class TestMemory(BackendContract):
    def make_backend(self, tmp_path: Path) -> Backend:
        return MemoryBackend()

    def reopen(self, backend: Backend) -> Backend:
        return backend


class TestSqlite(BackendContract):
    def make_backend(self, tmp_path: Path) -> Backend:
        return SqliteBackend(tmp_path / "records.db")

    def reopen(self, backend: Backend) -> Backend:
        return SqliteBackend(backend.path)  # type: ignore[attr-defined]
