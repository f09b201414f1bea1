"""Promises that only a process of its own can keep or break: exit codes, terminals, pipes, the demo, the examples."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.integration.cli.running import Database, Running, as_json, eventually, tallystick

from tallystick import Metrics

ROOT = Path(__file__).parents[3]
ESCAPE = "\x1b["


def in_terminal(*words: object, **environment: str) -> str:
    """What somebody sees in front of a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tallystick", *map(str, words)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
        close_fds=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(30) == 0, shown.decode()
    return shown.decode()


@pytest.fixture
def recorded() -> None:
    with Metrics() as metrics:
        metrics.increment("sale", 3, tags={"plan": "pro"})
        metrics.event("deploy", "v42")
        assert metrics.flush(10)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("words", [["status"], ["query"]], ids=" ".join)
def test_colour_is_for_terminals_and_for_who_wants_it(words: list[str]) -> None:
    assert ESCAPE in in_terminal(*words)
    assert ESCAPE not in in_terminal(*words, NO_COLOR="1")
    assert ESCAPE not in tallystick(*words).stdout


@pytest.mark.usefixtures("recorded")
def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    with Metrics() as metrics:
        for number in range(20_000):
            metrics.increment("many", number)
        assert metrics.flush(30)
    command = f"{shlex.quote(sys.executable)} -m tallystick export | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("id,time,")
    assert done.stderr == ""


def test_a_terminal_that_knows_ascii_only_gets_ascii(recorded: None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", "query", "sale"],
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("words", [["tail"], ["top", "--json", "--count", "1000"]], ids=" ".join)
def test_ctrl_c_ends_what_goes_on_without_a_word(words: list[str], tmp_path: Path) -> None:
    with Running(tmp_path, *words) as running:
        assert running.process.stdout is not None
        assert running.process.stdout.readline()
        assert running.stop(signal.SIGINT) == 0
        assert running.said.read_text() == ""


@pytest.mark.usefixtures("recorded")
def test_tail_follows_what_arrives(tmp_path: Path) -> None:
    with Running(tmp_path, "tail", "sale", "--json", "-n", "1") as running, Metrics() as metrics:
        out = running.process.stdout
        assert out is not None
        assert json.loads(out.readline())["value"] == 3
        metrics.increment("other")
        metrics.increment("sale", 4)
        assert json.loads(out.readline())["value"] == 4
        metrics.increment("sale", 5)
        assert json.loads(out.readline())["value"] == 5, "each once, and in order"


def test_a_dead_letter_is_delivered_by_the_running_agent_when_its_cause_is_mended(
    database: Database, tmp_path: Path
) -> None:
    database.says("refuse", "bad")
    with Metrics(deliver="off") as metrics:
        metrics.increment("bad", 7)
        metrics.increment("good", 1)  # a record is dead when it is refused while others pass
    with Running(tmp_path, "agent") as agent:
        eventually(lambda: len(as_json("dead", "list")) == 1, "it is rejected")
        database.says("refuse")
        assert as_json("dead", "retry", "--all")["nobody_delivers"] == []
        eventually(lambda: len(database.rows()) == 2, "it is delivered after all")
        assert agent.stop() == 0
    assert database.rows()[1][1:] == ["bad", 7]
    (found,) = as_json("status")["pipelines"]
    assert found["line"] == "2 accepted = 2 delivered + 0 pending + 0 dead + 0 dropped"


def test_check_ends_with_1_while_the_database_is_down_and_with_0_when_it_is_back(
    database: Database, tmp_path: Path
) -> None:
    database.says("down", "yes")
    with Metrics(deliver="off") as metrics:
        metrics.increment("a")
    with Running(tmp_path, "agent") as agent:
        eventually((database.folder / "asked").exists, "it tries")
        eventually(
            lambda: tallystick("status", "--check", "--max-age", "1s", ok=False).returncode == 1, "too old to be fine"
        )
        said = tallystick("status", "--check", "--max-age", "1s", ok=False).stdout
        assert "nothing delivered yet: Unavailable: the database is down" in said
        database.says("down")
        eventually(lambda: len(database.rows()) == 1, "it is delivered")
        assert tallystick("status", "--check", "--max-age", "1s").returncode == 0
        assert agent.stop() == 0


def test_the_demo_records_real_input_and_its_three_commands_work(home: Path) -> None:
    pytest.importorskip("psutil")
    shown = tallystick("demo", "--seconds", "2").stdout
    assert ESCAPE not in shown, "no bar where nobody looks"
    assert f"{home}/demo/records.db" in shown
    assert re.search(r"([\d,]+) accepted = \1 delivered \+ 0 pending \+ 0 dead \+ 0 dropped", shown)
    for name in ("host.cpu.used", "host.memory.used", "shop.request", "/search", "/checkout", "shop.sale"):
        assert name in shown
    commands = shown.split("Try next:")[1].strip().splitlines()
    assert len(commands) == 3
    for command in commands:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60, cwd="/")
        assert done.returncode == 0, done.stderr
        assert "shop." in done.stdout or "accepted" in done.stdout
    again = as_json("demo", "--seconds", "1")
    assert again["balanced"]
    assert again["answers"]["200"] > 0


def test_the_demo_says_what_to_install_when_psutil_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "psutil.py").write_text("raise ImportError(name='psutil')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    done = tallystick("demo", "--seconds", "1", ok=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("psutil is not installed; run: pip install 'tallystick[demo]'")


def test_the_example_shop_answers_and_measures_itself(home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "shop.py"), "--port", "0", "--stop-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as shop:
        assert shop.stdout is not None
        address = shop.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}/search?q=lamp", timeout=10) as answer:
            assert {found["name"].split()[1] for found in json.load(answer)} == {"lamp"}
        for body in (b'{"items": [1, 1]}', b'{"items": [1]}'):
            with urllib.request.urlopen(urllib.request.Request(f"{address}/checkout", data=body), timeout=10) as answer:
                assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(f"{address}/checkout", data=b"{}", timeout=10)
        shop.communicate("", timeout=20)
        assert shop.returncode == 0
    sold = as_json("query", "shop.sale", "--aggregate", "sum")["series"]
    assert sold[0]["points"][0][1] == 3
    routes = as_json("query", "shop.request", "--aggregate", "count", "--by", "route", "--by", "status")["series"]
    assert {(one["tags"]["route"], one["tags"]["status"]): one["points"][0][1] for one in routes} == {
        ("/search", "200"): 1,
        ("/checkout", "200"): 2,
        ("/checkout", "400"): 1,
    }


@pytest.mark.parametrize("name", ["first.py", "own_backend.py"])
def test_the_examples_run_as_they_stand(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "user.signup" in done.stdout or "plan" in done.stdout


def test_the_example_script_records_from_a_shell(tmp_path: Path) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    command = bin_ / "tallystick"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tallystick "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}"}
    script = str(ROOT / "examples" / "backup.sh")
    subprocess.run(
        ["sh", script, str(ROOT / "examples"), str(tmp_path / "x.tgz")], env=environment, check=True, timeout=60
    )
    sent = {one["name"]: one["values"] for one in as_json("query")["series"]}
    assert sent["backup.size"]["last"] == (tmp_path / "x.tgz").stat().st_size
    assert sent["backup.time"]["count"] == 1
