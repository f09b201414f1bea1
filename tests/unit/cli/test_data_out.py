"""Data that goes out: UTF-8 whatever the terminal is, rows that hold, cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.recorder.metrics import Metrics

TEXT = "v42 für 日本 🎉"
RUN = ("=1+1", "+1", "-1+cmd", "@A1", "\t=1", "\r=1", "\n=1")


def out_of(home: Path, *arguments: str, encoding: str = "ascii") -> bytes:
    command = [sys.executable, "-m", "tallystick", *arguments, "--home", str(home)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with Metrics(home=home) as metrics:
        metrics.event("deploy", TEXT, tags={"city": "Łódź"})
        for text in (*RUN, "a\r\nb", "a\rb"):
            metrics.custom(text, "kind", text, {text: text}, id_=text, unit=text)
        metrics.gauge("cold", -5, unit="-5")
        assert metrics.flush(20)
    return home


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "command",
    ["export", "export --json", "tail --json --no-follow -n 99", "query deploy --aggregate count --by city --json"],
)
def test_data_is_utf_8_whatever_the_terminals_encoding(filled: Path, command: str, encoding: str) -> None:
    said = out_of(filled, *command.split(), encoding=encoding).decode("utf-8")
    assert "Łódź" in said
    assert TEXT in said or command.startswith("query")


def rows(home: Path, *options: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out_of(home, "export", *options).decode(), newline=""), strict=True))


def test_no_cell_of_a_csv_is_run_by_a_spreadsheet(filled: Path) -> None:
    made = rows(filled)
    cells = [cell for row in made for column, cell in row.items() if column not in ("number", "value")]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))] == ["-5"]
    assert {f"'{text}" for text in RUN} <= {row["name"] for row in made}
    assert [row["value"] for row in made if row["name"] == "cold"] == ["-5"]
    assert set(RUN) <= {row["name"] for row in rows(filled, "--no-guard")}


def test_a_carriage_return_breaks_no_row_and_is_kept(filled: Path) -> None:
    made = rows(filled, "--no-guard")
    assert len(made) == len(RUN) + 4
    assert all(None not in row and None not in row.values() for row in made)
    assert {"a\r\nb", "a\rb"} <= {row["name"] for row in made}
    as_json = [json.loads(line) for line in out_of(filled, "export", "--json").splitlines()]
    assert {row["name"] for row in made} == {row["name"] for row in as_json}
