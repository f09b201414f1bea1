"""What the tests of the command line share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.integration.cli.running import Database, install_files_backend


@pytest.fixture(autouse=True)
def calm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in an empty folder, in UTF-8, without the caller's colours."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONUTF8", "1")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database that can be down, slow and choosy; the settings name it."""
    site = install_files_backend(tmp_path / "site")
    monkeypatch.syspath_prepend(site)  # here, and in the processes that are started
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH", "")])))
    made = Database(tmp_path / "database")
    monkeypatch.setenv("TALLYSTICK_BACKEND", made.url)
    return made
