"""What the acceptance tests share: a stage with real processes, and time enough for full counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.spools import Left, leave
from tests.acceptance.stage import PATIENCE_SECONDS, THOROUGH_PATIENCE_SECONDS, Stage

HERE = Path(__file__).parent
THOROUGH_TEST_SECONDS = 7200


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Full counts take longer than any other test may."""
    if config.getoption("--thorough"):
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.timeout(THOROUGH_TEST_SECONDS))


@pytest.fixture
def stage(home: Path, tmp_path: Path, thorough: bool) -> Iterator[Stage]:
    """Programs started on it share the test's home and end with the test."""
    stage = Stage(home, tmp_path, THOROUGH_PATIENCE_SECONDS if thorough else PATIENCE_SECONDS)
    yield stage
    stage.clean_up()


@pytest.fixture(scope="session")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """A home that dead applications left behind, and what they had recorded. To be copied."""
    return leave(tmp_path_factory.mktemp("left"))
