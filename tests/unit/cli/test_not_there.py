"""A database or a pipeline's folder that is not there is told from an empty one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.calling import answer, call

from tallystick import Metrics

NOWHERE = ["sqlite:///{}/nosuch.db", "parquet:///{}/nosuch"]


@pytest.mark.parametrize("url", NOWHERE)
def test_a_copy_from_a_database_that_is_not_there_is_an_error_and_makes_none(url: str, tmp_path: Path) -> None:
    if url.startswith("parquet"):
        pytest.importorskip("duckdb")
    source = url.format(tmp_path)
    refused = call("copy", source, f"sqlite:///{tmp_path}/to.db", exits=1).stderr
    assert refused.startswith(f"tallystick: FROM: there is no {tmp_path}/nosuch")
    assert "; give the path of a database that is there" in refused
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", NOWHERE)
@pytest.mark.parametrize(
    "words",
    [
        ["query", "a"],
        ["query", "--json"],
        ["export"],
        ["tail", "--no-follow"],
        ["top"],
        ["indices"],
        ["prune", "--older-than", "3d"],
    ],
    ids=" ".join,
)
def test_a_mistyped_backend_is_no_empty_one(words: list[str], url: str, tmp_path: Path) -> None:
    if url.startswith("parquet"):
        pytest.importorskip("duckdb")
    call("send", "increment", "a")
    done = call(*words, "--backend", url.format(tmp_path), exits=1)
    assert done.stderr.startswith(f"tallystick: --backend: there is no {tmp_path}/nosuch")
    assert "; give the path of a database that is there" in done.stderr
    assert done.stdout == ""
    done = call(*words, "--pipeline", "default", "--backend", url.format(tmp_path), exits=2)
    assert "pipeline default: its records go to" in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.glob("nosuch*"))


def test_what_a_pipeline_records_into_is_only_not_made_yet(home: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/later.db"
    with Metrics(url, deliver="off") as metrics:
        metrics.increment("a")
    for words in (["query"], ["export"], ["tail", "--no-follow"]):
        for more in ([], ["--backend", url]):
            assert f"nothing was delivered to {url} yet" in call(*words, *more).stderr
    assert answer("query", "--backend", url) == {"series": []}
    for words in (["indices"], ["prune", "--older-than", "3d"]):
        assert f"nothing was delivered to {url} yet" in call(*words, "--backend", url, exits=1).stderr


FILES = [["status", "--check"], ["doctor"], ["agent", "--once"], ["agent", "--drain"], ["query"], ["export"]]
FILES += [["spool", "list"], ["spool", "check"], ["dead", "list"], ["send", "increment", "a"], ["setup"], ["check"]]


@pytest.mark.parametrize("words", FILES, ids=" ".join)
@pytest.mark.parametrize("named", [[], ["--pipeline", "shop"]], ids=["chosen", "named"])
def test_a_pipeline_that_is_a_file_is_named_and_not_taken_for_an_empty_home(
    words: list[str], named: list[str], home: Path
) -> None:
    file = home / (named[-1] if named else "default")
    home.mkdir()
    file.write_text("x")
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", *words, *named], capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert f"{file} is no folder; move it away" in said
    assert "set home" not in said
    assert "Traceback" not in said
    assert file.read_text() == "x"


def test_other_pipelines_go_on_beside_one_that_is_a_file(home: Path) -> None:
    with Metrics(pipeline="shop", deliver="off") as metrics:
        metrics.increment("a")
    (home / "default").write_text("x")
    (home / "notes.txt").write_text("no pipeline")
    assert [one["pipeline"] for one in answer("status", exits=1)["pipelines"]] == ["default", "shop"]
    done = subprocess.run([sys.executable, "-m", "tallystick", "agent", "--once"], capture_output=True, timeout=60)
    assert done.returncode == 1
    assert answer("query", "--pipeline", "shop", "--aggregate", "count")["series"][0]["points"] == [[0, 1]]
    (home / "default").unlink()
    assert call("status", "--check").stdout == "ok: 1 pipeline\n"


@pytest.mark.parametrize("words", [["send", "increment", "a"], ["query"], ["status"]], ids=" ".join)
def test_a_home_that_is_shut_for_this_user_is_told_with_the_remedy(words: list[str], home: Path) -> None:
    home.mkdir()
    home.chmod(0)
    code = (
        "import os, tomllib; from tallystick.cli import app, query, send, status\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "app.main()"
    )
    try:
        done = subprocess.run([sys.executable, "-c", code, *words], cwd="/", capture_output=True, text=True)
    finally:
        home.chmod(0o700)
    assert done.returncode == 1
    assert done.stderr.startswith("tallystick: ")
    assert str(home) in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Errno" not in done.stderr
    assert "Permission denied; " in done.stderr
    assert "TALLYSTICK_HOME" in done.stderr
