"""The root, the settings, completion, and the commands around the database."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.unit.cli.calling import answer, call, lines

from tallystick import Metrics
from tallystick.cli.app import COMMANDS, app
from tallystick.settings import table

ROOT = Path(__file__).parents[3]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command by its words, those of groups included."""
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        assert found is not None
        yield (*path, name), found
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))


EVERY = dict(commands(app))


def test_the_list_of_commands_loads_neither_a_backend_nor_rich() -> None:
    probe = (
        "import json, sys; from tallystick.cli.app import app;"
        "app(['--help'], standalone_mode=False); print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    rooms = {"tallystick.backends", "tallystick.agent", "tallystick.cli.output", "tallystick.cli.demo"}
    assert not {"rich", "sqlite3", "psutil", "duckdb", *rooms} & set(loaded)


def test_every_command_of_the_list_is_there_and_says_the_same_of_itself() -> None:
    listed = {name: sentence for section in COMMANDS.values() for name, (_, sentence) in section.items()}
    assert set(listed) == {words[0] for words in EVERY}
    shown = call("--help").stdout
    for name, sentence in listed.items():
        assert sentence in shown
        said = (EVERY[(name,)].help or "").split("\n\n")[0]
        assert sentence.rstrip(".").split()[0] in said, f"{name}: {sentence!r} and {said!r}"


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_and_option_has_help(words: tuple[str, ...]) -> None:
    command = EVERY[words]
    assert command.help
    assert "Usage: tallystick" in call(*words, "--help").stdout
    silent = [
        option.opts
        for option in command.params
        if isinstance(option, click.Option) and not option.help and not isinstance(option.type, click.Choice)
    ]
    assert silent == []


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_and_option_stands_in_the_reference(words: tuple[str, ...]) -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert f"## tallystick {' '.join(words)}\n" in page
    section = re.split(r"\n## ", page.split(f"## tallystick {' '.join(words)}\n")[1])[0]
    known = {option for part in EVERY[words].params if isinstance(part, click.Option) for option in part.opts}
    shared = {"--home", "--pipeline", "--backend", "--json", "--yes"}
    filters = {"--kind", "--where", "--last", "--start", "--end"}
    if "[filters](#filters)" in section:
        assert filters <= known
        known -= filters
    missing = [option for option in known - shared if option.startswith("--") and f"`{option}" not in section]
    assert missing == []
    for option in shared & known:
        assert f"`{option}" in page


def test_every_answer_is_one_json_document_or_lines_of_them() -> None:
    call("send", "increment", "a")
    for words in (
        ["status"], ["query"], ["query", "a", "--aggregate", "sum"], ["config", "show"], ["doctor"], ["dead", "list"],
        ["spool", "list"], ["spool", "check"], ["check"], ["setup"], ["indices"], ["send", "increment", "a"],
        ["prune", "--older-than", "1d", "--yes"], ["spool", "repair", "--yes"], ["dead", "retry", "--all"],
        ["dead", "drop", "--all", "--yes"],
    ):  # fmt: skip
        answer(*words)
    for words in (["tail", "--no-follow"], ["top", "--count", "1"], ["spool", "dump"]):
        lines(*words, "--json")


def test_a_mistake_is_one_line_and_a_code_and_never_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such command: stauts; did you mean status?" in call("stauts", exits=2).stderr
    assert "No such option" in call("status", "--nosuch", exits=2).stderr
    monkeypatch.setenv("TALLYSTICK_SAMPLE_RATE", "7")
    refused = call("status", exits=2).stderr
    assert refused.startswith("tallystick: sample_rate: '7' (environment TALLYSTICK_SAMPLE_RATE) must be")
    assert refused.count("\n") == 1


def test_an_error_of_the_file_system_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "file"))
    refused = call("status", exits=1).stderr
    assert refused.startswith("tallystick: ")
    assert refused.count("\n") == 1


def test_config_shows_every_setting_and_where_it_is_from(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_APP", "shop")
    monkeypatch.setenv("TALLYSTICK_TYPO", "x")
    found = {one["name"]: one for one in answer("config", "show")}
    assert list(found) == list(table())
    assert (found["app"]["value"], found["app"]["source"]) == ("shop", "environment TALLYSTICK_APP")
    assert (found["home"]["value"], found["home"]["source"]) == (str(home), "environment TALLYSTICK_HOME")
    assert found["fsync"]["source"] == "default"
    shown = call("config", "show")
    assert "'shop'" in shown.stdout
    assert "TALLYSTICK_TYPO is no setting" in shown.stderr
    assert "--home" not in shown.stdout
    assert answer("config", "show", "home", "--home", "/elsewhere")[0]["source"] == "argument"
    assert "When records are forced to the disk" in call("config", "show", "fsync").stderr
    assert max(map(len, shown.stdout.splitlines())) < 160, "a long list makes no line long"
    assert "authorization" in call("config", "show", "scrub").stdout
    assert "no such setting: nosuch" in call("config", "show", "nosuch", exits=2).stderr


def test_config_never_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKEND", "elasticsearch://elastic:hunter2@search-1/metrics?api_key=hunter2")
    assert "hunter2" not in call("config", "show").output
    assert "hunter2" not in call("config", "show", "--json").output
    assert "elastic:***@search-1" in call("config", "show").output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str) -> None:
    assert "_TALLYSTICK_COMPLETE" in call("completion", shell).stdout


def test_completion_knows_commands_and_pipelines(home: Path) -> None:
    call("send", "increment", "a")

    def completed(words: str) -> list[str]:
        environment = {
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
            "_TALLYSTICK_COMPLETE": "bash_complete",
        }
        probe = "import sys; sys.argv = ['tallystick']; from tallystick.cli import main; main()"
        done = subprocess.run(
            ["env", *(f"{name}={value}" for name, value in environment.items()), sys.executable, "-c", probe],
            capture_output=True,
            text=True,
            check=False,
        )
        return [line.split(",", 1)[1] for line in done.stdout.splitlines()]

    assert "status" in completed("tallystick st")
    assert completed("tallystick status --pipeline d") == ["default"]


def test_setup_check_indices_and_prune_look_after_the_database(home: Path) -> None:
    database = home / "default" / "records.db"
    assert f"fail  {database} does not exist" in call("check", exits=1).stdout
    assert not database.exists(), "checking makes nothing"
    call("setup")
    assert "nothing was missing" in call("setup").stdout
    assert answer("check")["ok"]
    with Metrics() as metrics:
        metrics.increment("old", timestamp=time.time() - 86_400 * 10)
        metrics.increment("new")
        assert metrics.flush(10)
    assert answer("indices")["indices"][0]["records"] == 2
    assert str(database) in call("indices").stdout
    assert "Forget the records" in call("prune", "--older-than", "1d", types="n\n", exits=1).stderr
    assert answer("indices")["indices"][0]["records"] == 2
    assert answer("prune", "--older-than", "1d", "--yes")["forgotten"] == 1
    assert "say --older-than" in call("prune", "--yes", exits=2).stderr


def test_prune_takes_its_age_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    with Metrics() as metrics:
        metrics.increment("old", timestamp=time.time() - 86_400 * 10)
        assert metrics.flush(10)
    monkeypatch.setenv("TALLYSTICK_RETENTION_DAYS", "30")
    assert answer("prune", "--yes")["forgotten"] == 0
    monkeypatch.setenv("TALLYSTICK_RETENTION_DAYS", "5")
    assert answer("prune", "--yes")["forgotten"] == 1


def test_a_backend_without_these_powers_says_so(tmp_path: Path) -> None:
    refused = call("check", "--backend", f"log:///{tmp_path}/x.log", exits=1)
    assert "needs no looking after by us" in refused.stderr
