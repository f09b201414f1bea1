"""What the acceptance tests share: a stage with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.spools import Left, leave
from tests.acceptance.stage import Stage


@pytest.fixture
def stage(home: Path, tmp_path: Path) -> Iterator[Stage]:
    """Programs started on it share the test's home and end with the test."""
    stage = Stage(home, tmp_path)
    yield stage
    stage.clean_up()


@pytest.fixture(scope="session")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """A home that dead applications left behind, and what they had recorded. To be copied."""
    return leave(tmp_path_factory.mktemp("left"))
