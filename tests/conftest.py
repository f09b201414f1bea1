"""What every test may use: `--thorough`, and a home of its own so that no test touches the user's records."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.services"]
if "TALLYSTICK_CONTRACT_TABLE" in os.environ:
    pytest_plugins.append("tests.contract.page")

# No deadlines: a shared machine may stall any example, and a promise about time has a test of its own.
settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="full counts and the slow tests (many minutes)")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # run in the background: programs of tests would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.load_profile("thorough" if config.getoption("--thorough") else "quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --thorough the slow tests are deselected, not skipped: the closing line says how many."""
    if config.getoption("--thorough"):
        return
    slow = [item for item in items if item.get_closest_marker("thorough")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """True with --thorough: tests then use their full counts."""
    return bool(request.config.getoption("--thorough"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new TALLYSTICK_HOME for each test, and none of the caller's settings; the servers' addresses stay."""
    for name in list(os.environ):
        if name.startswith("TALLYSTICK_") and not name.startswith(("TALLYSTICK_TEST_", "TALLYSTICK_SERVICES")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("TALLYSTICK_HOME", str(home))
    return home
