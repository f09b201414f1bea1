"""Each test's records go into a home of its own, and no engine of one test serves another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.compat.kaneda import engine, storing


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "home"))
    yield
    while engine._metrics:
        engine._metrics.popitem()[1].close(2)
    storing._backends.clear()
