"""What is wrong on the command line, or with the home: one line that says so, and an exit code that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.calling import call

from tallystick import Metrics
from tallystick.spool.folder import Folder

BYTES = b"\xff"


@pytest.mark.parametrize(
    "words",
    [
        ["query", BYTES],
        ["export", BYTES],
        ["tail", BYTES, "--no-follow"],
        ["top", BYTES],
        ["query", "a", "--where", b"plan=" + BYTES],
        ["query", "a", "--by", BYTES],
        ["query", "--backend", b"sqlite:///" + BYTES],
        ["status", "--pipeline", BYTES],
        ["send", "increment", BYTES],
        ["send", "event", "deploy", BYTES],
        ["send", "increment", "a", "--tag", b"plan=" + BYTES],
    ],
    ids=str,
)
def test_an_argument_that_is_not_utf_8_is_refused_in_one_line(words: list[str | bytes], home: Path) -> None:
    command = [sys.executable, "-X", "utf8", "-m", "tallystick", *words]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("tallystick: the argument '")
    assert "is not UTF-8" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not home.exists()


@pytest.mark.parametrize("where", ["home", "folder"])
def test_a_home_that_is_not_utf_8_is_refused_in_one_line(where: str, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/" + BYTES
    os.mkdir(odd)
    home = {"home": odd, "folder": b"home"}[where]
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "tallystick", "send", "increment", "a"],
        capture_output=True,
        text=True,
        cwd=odd if where == "folder" else tmp_path,
        env={**os.environb, b"TALLYSTICK_HOME": home},
    )
    assert done.returncode == 2
    assert "(environment TALLYSTICK_HOME) must be a folder's path" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "--check"],
        ["status", "--json"],
        ["query", "a"],
        ["export"],
        ["tail", "--no-follow"],
        ["top"],
        ["check"],
        ["agent"],
        ["agent", "--once"],
        ["spool", "list"],
        ["spool", "check"],
        ["dead", "list"],
        ["send", "increment", "a"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("home", ["file", "file/below/it"], indirect=True)
def test_a_home_that_can_be_none_is_an_error_with_the_remedy(words: list[str], home: Path) -> None:
    done = call(*words, exits=1)
    assert str(home) in done.stderr
    assert "Not a directory; set home (TALLYSTICK_HOME) to a folder that this user may write to" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("home", ["file", "file/below/it"], indirect=True)
def test_the_doctor_fails_for_a_home_that_can_be_none_and_calls_nothing_of_it_well(home: Path) -> None:
    done = call("doctor", exits=1)
    assert f"fail  home {home} " in done.stdout
    assert "set home (TALLYSTICK_HOME) to a folder that this user may write to" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("ok") and str(home) in line] == []


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that a test asks for, in a folder where `file` is a file; else one that is not there yet."""
    (tmp_path / "file").write_text("")
    home = tmp_path / getattr(request, "param", "home")
    monkeypatch.setenv("TALLYSTICK_HOME", str(home))
    return home


@pytest.mark.parametrize("home", ["file"], indirect=True)
def test_a_database_that_is_named_is_asked_without_a_home(home: Path, tmp_path: Path) -> None:
    with Metrics(f"sqlite:///{tmp_path}/metrics.db", home=tmp_path / "other") as metrics:
        metrics.increment("a", 7)
        assert metrics.flush()
    assert "7" in call("query", "a", "--aggregate", "sum", "--backend", f"sqlite:///{tmp_path}/metrics.db").stdout


def test_a_home_in_a_folder_that_this_user_may_not_write_to_is_an_error() -> None:
    """As a user who is not root, since root may write anywhere."""
    code = (
        "import os; from tallystick.errors import SpoolError; from tallystick.spool.folder import pipelines\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: pipelines('/tallystick-home')\nexcept SpoolError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("there is no home /tallystick-home, and this user may not make it in /; "), done


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is of Linux; run the tests there to see it")
@pytest.mark.parametrize("words", [["status"], ["query", "a"], ["export"], ["agent", "--once"], ["dead", "list"]])
def test_a_home_where_not_even_root_may_make_a_folder_is_an_error(words: list[str]) -> None:
    done = call(*words, "--home", "/proc/x", exits=1)
    assert "there is no home /proc/x, and this user may not make it in /proc; set home" in done.stderr


@pytest.mark.parametrize(("span", "says"), [("9999999d", "longer than 285 years"), ("0s", "no positive time span")])
def test_a_span_that_cannot_be_is_named_as_it_was_given(span: str, says: str) -> None:
    call("send", "increment", "a")
    assert f"last: '{span}' is {says}" in call("query", "a", "--last", span, exits=2).stderr


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_export_that_cannot_be_written_names_the_path_that_was_given(form: str, tmp_path: Path) -> None:
    if form == "parquet":
        pytest.importorskip("duckdb")
    call("send", "increment", "a")
    done = call("export", "--format", form, "--output", tmp_path / "none" / "x", exits=1)
    assert f"--output: cannot write {tmp_path}/none/x: No such file or directory; its folder must be" in done.stderr
    assert ".part" not in done.stderr


def test_a_question_makes_no_folder(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    for words in (["query", "a"], ["export"], ["tail", "--no-follow"]):
        done = call(*words, "--backend", f"parquet:///{tmp_path}/none/here", exits=1)
        assert f"there is no {tmp_path}/none/here; " in done.stderr
    assert not (tmp_path / "none").exists()
    assert "--output: '' is no file" in call("export", "--output", "", exits=2).stderr


def test_dumping_a_segment_that_is_not_there_says_which_are(home: Path) -> None:
    assert "begins with ffff; there are none" in call("spool", "dump", "ffff", exits=2).stderr
    with Metrics(deliver="off") as metrics:
        metrics.increment("a")
    (identity,) = Folder(home).segment_ids()
    done = call("spool", "dump", identity[:20], "ffff", exits=2)
    assert f"no segment has an id that begins with ffff; there are {identity}" in done.stderr
    assert done.stdout == ""
    assert call("spool", "dump", identity[:20]).stdout == call("spool", "dump").stdout != ""


@pytest.mark.parametrize("words", [["send", "increment", "a", "--wait"], ["agent", "--once", "--stop-timeout"]])
@pytest.mark.parametrize("seconds", ["nan", "-1", "soon"])
def test_seconds_to_wait_that_cannot_be_are_refused_before_anything_is_done(
    words: list[str], seconds: str, home: Path
) -> None:
    assert f"'{seconds}' must be a number of seconds, 0 or more, such as 30;" in call(*words, seconds, exits=2).stderr
    assert not home.exists()


@pytest.mark.parametrize("seconds", ["abc", "0", "1e6"])
def test_the_seconds_of_the_demo_are_said_in_our_words(seconds: str) -> None:
    said = call("demo", "--seconds", seconds, exits=2).stderr
    assert f"'{seconds}' must be a number of seconds, 1 to 86400, such as 30; see `tallystick demo --help`" in said


def test_an_export_as_json_is_an_export_as_json_lines() -> None:
    call("send", "increment", "a")
    done = call("export", "--json")
    assert done.stdout == call("export", "--format", "jsonl").stdout != ""
    assert done.stderr == "1 record\n"
    assert "leave it out, or --format csv" in call("export", "--json", "--format", "csv", exits=2).stderr


ODD_PATH = "is not UTF-8; give an absolute path that is, or start in another folder\n"


@pytest.fixture
def odd_folder(tmp_path: Path) -> bytes:
    """One whose name is not UTF-8."""
    odd = os.fsencode(tmp_path) + b"/x\xff"
    os.mkdir(odd)
    return odd


@pytest.mark.parametrize(
    "words", [["send", "increment", "a"], ["query"], ["setup"], ["doctor"], ["status"], ["config", "show", "--json"]]
)
def test_a_relative_backend_in_a_folder_that_is_not_utf_8_is_refused_with_the_remedy(
    words: list[str], odd_folder: bytes
) -> None:
    Path(os.fsdecode(odd_folder), "tallystick.toml").write_text('backend = "sqlite:///x.db"')
    command = [sys.executable, "-X", "utf8", "-m", "tallystick", *words]
    done = subprocess.run(command, cwd=odd_folder, capture_output=True, encoding="utf-8")
    assert "Traceback" not in done.stderr
    if words[0] in ("status", "config"):  # which need not open it
        assert done.returncode == 0
    elif words == ["doctor"]:
        assert done.returncode == 1
        assert ODD_PATH in done.stdout
    else:
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert done.stderr.endswith(ODD_PATH)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "parquet:///x"])
def test_a_program_in_such_a_folder_is_told_when_it_makes_its_metrics(url: str, odd_folder: bytes) -> None:
    program = f"import tallystick\nmetrics = tallystick.Metrics({url!r})\nmetrics.increment('a')"
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", program], cwd=odd_folder, capture_output=True, text=True)
    assert "line 2" in done.stderr
    assert "tallystick.errors.SettingsError: backend: the path" in done.stderr
    assert done.stderr.endswith(ODD_PATH)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["querry"], "no such command: querry; did you mean query?; see `tallystick --help`"),
        (["config", "shwo"], "no such command: shwo; did you mean show?; see `tallystick config --help`"),
        (["config", "show", "bakend"], "no such setting: bakend; did you mean backend?; see"),
        (["dead", "show"], "Missing argument 'ID'; see `tallystick dead show --help`"),
        (["query", "--limit", "many"], "'many' is not a valid integer"),
        (["send", "increment", "a", "--tag", "b=1", "--tag", "b=2"], "--tag: b is given 2 times"),
        (["--nosuch"], "see `tallystick --help`"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_one_line_with_what_was_perhaps_meant(words: list[str], says: str) -> None:
    done = call(*words, exits=2)
    assert done.stderr.startswith("tallystick: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert done.stdout == ""


def test_calls_without_a_name_are_told_from_damaged_lines(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Metrics(deliver="off") as metrics:
        metrics.increment("")
    assert "refused a record without a name: name: " in caplog.text
    assert "refused   length: 1 (without a name 1)" in call("status").stdout
    assert "correct the calls that record without a name" in call("doctor", "--offline").stdout
