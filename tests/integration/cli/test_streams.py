"""Commands without a terminal: pipes that close, devices that are full, nobody who answers a question."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.cli.running import tallystick

from tallystick import Metrics


@pytest.fixture
def shop(home: Path) -> None:
    with Metrics() as metrics:
        for number in range(3):
            metrics.increment("sale", number)
        assert metrics.flush(10)


@pytest.fixture
def closed() -> Iterator[int]:
    """A pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def ended(*words: str, stdout: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tallystick", *words]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    err, nobody = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.run(command, stdout=stdout, stderr=err, stdin=nobody, env=env, text=True, timeout=60)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["query", "--help"],
        ["query"],
        ["query", "--aggregate", "sum"],
        ["query", "--json"],
        ["status"],
        ["tail", "--no-follow"],
        ["top"],
        ["export"],
        ["indices"],
        ["spool", "list", "--json"],
        ["config", "show"],
    ],
    ids=" ".join,
)
def test_a_reader_that_has_seen_enough_is_no_failure(words: list[str], shop: None, closed: int) -> None:
    done = ended(*words, stdout=closed)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [["--help"], ["query"], ["query", "--json"], ["export"], ["config", "show"]])
def test_an_answer_that_finds_no_room_says_where_and_the_remedy(words: list[str], shop: None) -> None:
    with open("/dev/full", "w") as full:
        done = ended(*words, stdout=full.fileno())
    assert done.returncode == 1
    remedy = "make room there, or send it elsewhere"
    assert done.stderr == f"tallystick: cannot write to standard output: No space left on device; {remedy}\n"


def test_an_export_into_a_full_device_names_it(shop: None) -> None:
    done = tallystick("export", "-o", "/dev/full", ok=False)
    assert done.returncode == 1
    remedy = "make room there, or name another file"
    assert done.stderr == f"tallystick: --output: cannot write /dev/full: No space left on device; {remedy}\n"


def test_an_export_may_go_to_standard_output_by_its_path(shop: None, tmp_path: Path) -> None:
    piped = tallystick("export", "-o", "/dev/stdout")
    assert len(list(csv.DictReader(piped.stdout.splitlines()))) == 3
    assert "3 records in /dev/stdout" in piped.stderr
    file = tmp_path / "out"
    file.write_text("before\n")
    with file.open("a") as out:
        assert ended("export", "--json", "-o", "/dev/stdout", stdout=out.fileno()).returncode == 0
    first, *objects = file.read_text().splitlines()
    assert first == "before"
    assert [json.loads(line)["value"] for line in objects] == [0, 1, 2]


def test_top_asks_once_without_a_terminal_also_for_programs(shop: None) -> None:
    (line,) = tallystick("top", "--json").stdout.splitlines()
    assert [one["name"] for one in json.loads(line)["series"]] == ["sale"]


@pytest.mark.parametrize("words", [["prune", "--older-than", "1d"], ["spool", "repair"]], ids=" ".join)
def test_a_question_that_nobody_can_answer_names_the_option(words: list[str], shop: None) -> None:
    done = tallystick(*words, ok=False)
    assert done.returncode == 2
    assert done.stderr.startswith("tallystick: ")
    assert done.stderr.endswith(" nobody is there to answer; give --yes\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("yes\n", 0), ("n\n", 1), ("\n", 1)])
def test_a_question_may_be_answered_by_a_pipe(typed: str, code: int, shop: None) -> None:
    command = [sys.executable, "-m", "tallystick", "prune", "--older-than", "1d"]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert "Forget the records of" in done.stderr
