"""`tallystick doctor` before anything was recorded: when a newcomer has just written the settings."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from tests.unit.cli.calling import answer, call

WRONG = [
    "postgresql://ada:S3cr3t@127.0.0.1:{shut}/metrics",
    "mongodb://ada:S3cr3t@127.0.0.1:{shut}/metrics?connect_timeout_seconds=0.5",
    "elasticsearch://ada:S3cr3t@127.0.0.1:{shut}/metrics",
    "influxdb://ada:S3cr3t@127.0.0.1:{shut}/metrics",
    "clickhouse://ada:S3cr3t@127.0.0.1:{shut}/metrics",
    "sqlite://ada:S3cr3t@localhost/metrics",
    "sqlite:///{folder}",
    "nosuch://ada:S3cr3t@localhost/metrics",
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def shut() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("given", WRONG)
def test_a_wrong_database_is_found_before_anything_was_recorded(
    given: str, shut: int, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKEND", given.format(shut=shut, folder=tmp_path))
    done = call("doctor", exits=1)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fail")]
    assert "S3cr3t" not in done.output
    assert "do as it says" not in line
    assert not re.search(r"(\S+://\S+): \1", line), "the place is said once"
    assert "fail" not in call("doctor", "--offline").stdout
    assert not home.exists(), "asking makes no pipeline"


def test_a_wrong_database_given_by_an_option_is_found_too(shut: int) -> None:
    assert call("doctor", "--backend", f"influxdb://127.0.0.1:{shut}/metrics", exits=1).stdout.count("fail") == 1


def test_a_right_database_is_said_to_answer_before_anything_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/records.db"
    monkeypatch.setenv("TALLYSTICK_BACKEND", url)
    assert f"{url} is made at the first delivery" in call("doctor").stdout
    assert call("setup").stdout
    assert f"{url} answers" in call("doctor").stdout


def test_without_a_backend_in_the_settings_there_is_none_to_ask() -> None:
    assert {one["pipeline"] for one in answer("doctor")["findings"]} == {None}
