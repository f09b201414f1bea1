"""The Parquet folder against the contract."""

from __future__ import annotations

from pathlib import Path

from tallystick.backends.base import Backend
from tallystick.backends.parquet import ParquetBackend
from tallystick.testing import BackendContract


class TestParquet(BackendContract):
    def make_backend(self, tmp_path: Path) -> Backend:
        return ParquetBackend(tmp_path / "it's [a] f*lder?")

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, ParquetBackend)
        return ParquetBackend(backend.path)
