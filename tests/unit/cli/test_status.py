"""`tallystick status` and `doctor`: what they say of a pipeline, and when they complain."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.cli.calling import answer, call

from tallystick import Metrics
from tallystick.agent.report import Heartbeat
from tallystick.pipelines.health import LOST
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions


def unhappy(home: Path, name: str = "default", **facts: object) -> None:
    """What an agent leaves behind whose database did not take the records."""
    beat = Heartbeat(host="web-1", pid=42, mode="process", since=time.time(), beat=time.time(), **facts)  # type: ignore[arg-type]
    Folder(home, name).agent.write_bytes(msgspec.json.encode(beat))


def wait_in_spool(name: str = "a", seconds_ago: float = 0.0) -> None:
    with Metrics(deliver="off") as metrics:
        metrics.increment(name, timestamp=time.time() - seconds_ago)


def findings(*words: str, exits: int = 0) -> dict[str, str]:
    """What the doctor says, by level: all sentences of a level together."""
    found: dict[str, str] = {"ok": "", "warn": "", "fail": ""}
    for one in answer("doctor", *words, exits=exits)["findings"]:
        found[one["level"]] += f"{one['pipeline'] or 'host'}: {one['what']}; {one['remedy']}\n"
    return found


def test_an_empty_home_is_no_failure(home: Path) -> None:
    assert "Nothing was recorded" in call("status").stdout
    assert call("status", "--check").stdout == "ok: 0 pipelines\n"
    assert answer("status") == {"home": str(home), "ok": True, "pipelines": []}
    assert not home.exists(), "looking makes nothing"


def test_status_tells_the_books_the_target_and_who_delivers(home: Path) -> None:
    with Metrics() as metrics:
        metrics.increment("good")
        metrics.gauge("worse", float("nan"))
        assert metrics.flush()
        shown = call("status").stdout
        (found,) = answer("status")["pipelines"]
    assert f"default → sqlite:///{home}/default/records.db" in shown
    assert "1 accepted = 1 delivered + 0 pending + 0 dead + 0 dropped" in shown
    assert f"a thread of the application, pid {os.getpid()} on {socket.gethostname()}" in shown
    assert "refused   nan: 1 (worse 1)" in shown
    assert found["delivering"]
    assert found["agent"]["pid"] == os.getpid()
    assert found["delivered"] == {"good": 1}
    assert found["refused"] == {"nan": {"worse": 1}}


def test_check_ends_with_1_when_nothing_moves_although_the_spool_is_not_empty(home: Path) -> None:
    wait_in_spool(seconds_ago=120)
    unhappy(home, last_failed=time.time(), last_error="Unavailable: the database is down")
    done = call("status", "--check", exits=1)
    assert "default: 1 pending, the oldest for 2" in done.stdout
    assert "and nothing delivered yet: nobody delivers; run `tallystick agent`: Unavailable: the data" in done.stdout
    assert not answer("status")["ok"]
    assert call("status", "--check", "--max-age", "10m").stdout == "ok: 1 pipeline\n", "younger than is asked for"


def test_check_believes_no_heartbeat_of_the_future(home: Path) -> None:
    wait_in_spool(seconds_ago=120)
    unhappy(home, last_delivered=time.time() + 3600)
    assert "which is yet to come" in call("status", "--check", exits=1).stdout


def test_the_doctor_says_that_retention_doubts_the_clock(home: Path) -> None:
    wait_in_spool()
    unhappy(home, doubted=time.time() - 7200)
    assert "the clock leapt ahead by more than a day 2 h ago" in findings("--offline")["warn"]


def test_check_is_content_while_old_records_are_being_delivered(home: Path) -> None:
    wait_in_spool(seconds_ago=120)
    unhappy(home, last_delivered=time.time() - 30)
    assert call("status", "--check").stdout == "ok: 1 pipeline\n"
    unhappy(home, last_delivered=time.time() - 90)
    assert "nothing delivered for 1.5" in call("status", "--check", exits=1).stdout


SCRIPT = "Misconfigured: db://h/x: permission denied; grant it, or let an administrator run this:\nCREATE a;\nGRANT b;"


def test_a_script_for_an_administrator_is_no_part_of_a_line(home: Path) -> None:
    wait_in_spool(seconds_ago=120)
    unhappy(home, last_failed=time.time(), last_error=SCRIPT, action_needed=True)
    said = "permission denied; grant it, or let an administrator run this: the script that `tallystick setup --pipeline"
    for words in (["status"], ["status", "--check"], ["doctor", "--offline"]):
        shown = call(*words, exits=0 if words == ["status"] else 1).output
        assert f"{said} default` prints" in shown
        assert "GRANT" not in shown
        assert "\\n" not in shown
    assert answer("status")["pipelines"][0]["agent"]["last_error"] == SCRIPT, "programs get all of it"
    call("setup", "--pipeline", "default")
    beat = Folder(home).agent
    beat.write_bytes(
        beat.read_bytes().replace(b'"target":""', f'"target":"sqlite:///{home}/default/records.db"'.encode())
    )
    assert call("setup", "--pipeline", "default").stdout.endswith("agent's user:\nCREATE a;\nGRANT b;\n")


def test_status_names_what_the_last_try_failed_on_when_nobody_delivers(home: Path) -> None:
    wait_in_spool()
    unhappy(home, last_failed=time.time(), last_error="Unavailable: the database is down")
    act = answer("status")["pipelines"][0]["action_needed"]
    assert act.startswith("see to what the last try failed on (Unavailable: the database is down); then run `tally")


def failing() -> Any:
    """What status says of the pipeline after the first try."""
    while True:
        (found,) = answer("status")["pipelines"]
        if found["agent"] is not None and found["agent"]["last_error"]:
            return found
        time.sleep(0.02)


def test_status_names_the_trouble_when_an_agent_cannot_deliver_for_long(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKEND", "postgresql://ada@127.0.0.1:1/db")
    with Metrics(exit_timeout_seconds=0) as metrics:
        metrics.increment("a", timestamp=time.time() - 120)
        found = failing()
        metrics.close(0)
    assert found["delivering"]
    assert found["action_needed"].startswith("see to what keeps it from delivering: Unavailable: postgresql://127.0")


def test_a_trouble_that_has_only_begun_is_for_nobody_to_see_to(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKEND", "postgresql://ada@127.0.0.1:1/db")
    with Metrics(exit_timeout_seconds=0) as metrics:
        metrics.increment("a")
        found = failing()
        metrics.close(0)
    assert found["delivering"]
    assert found["action_needed"] is None


def test_check_mentions_what_found_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_SPOOL_LIMIT_BYTES", "131072")
    with Metrics(deliver="off", segment_bytes=131_072) as metrics:
        for _ in range(5_000):
            metrics.increment("a", metadata={"long": "x" * 100})
    lost = answer("status")["pipelines"][0]["totals"]["dropped"]
    done = call("status", "--check", "--max-age", "1h")
    assert done.stdout == "ok: 1 pipeline\n"
    assert f"{lost:,} dropped since 20" in done.stderr
    assert f"spool_limit {lost:,}" in done.stderr


def no_segment(metrics: Metrics, home: Path) -> None:
    segments = Folder(home).segments
    segments.rmdir()
    segments.write_text("in the way")
    metrics.increment("a")
    segments.unlink()
    segments.mkdir()


def closed(metrics: Metrics, home: Path) -> None:
    metrics.increment("before")
    metrics.close()
    metrics.increment("a")


DROPS: dict[str, tuple[Callable[[Metrics, Path], None], str]] = {
    "spool_error": (no_segment, "`ulimit -n`"),
    "closed": (closed, "before it calls `close()`"),
}


@pytest.mark.parametrize("reason", DROPS)
def test_whatever_a_record_was_dropped_for_the_doctor_names_the_remedy(home: Path, reason: str) -> None:
    drop, remedy = DROPS[reason]
    with Metrics(deliver="off", segment_bytes=65_536) as metrics:
        drop(metrics, home)
    found = findings()["warn"]
    (line,) = [line for line in found.splitlines() if f"1 records were dropped: {reason};" in line]
    assert remedy in line
    assert f": {reason} 1" in call("status", "--check", "--max-age", "1h").stderr


def test_every_reason_of_a_drop_that_stands_in_the_docs_has_a_remedy() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "read-the-status.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| dropped |")]
    assert set(re.findall(r"`(\w+)`", row)) - {"dead_letter"} == set(LOST)


def test_check_ends_with_1_when_the_books_do_not_balance(home: Path) -> None:
    call("send", "increment", "a")
    positions = Positions(Folder(home))
    positions.count_accepted({"lost": 3})
    positions.save(durable=False)
    done = call("status", "--check", exits=1)
    assert "the books do not balance (lost +3)" in done.stdout
    assert "the books do not balance" in findings(exits=1)["fail"]


def test_a_folder_named_dead_jsonl_is_found_by_the_doctor(home: Path) -> None:
    wait_in_spool()
    path = home / "default" / "dead.jsonl"
    path.mkdir()
    assert f"default: {path} is no file; move it away" in findings(exits=1)["fail"]


@pytest.mark.parametrize("name", ["agent.lock"])
def test_a_pipeline_that_cannot_be_read_is_named_with_the_remedy_and_hides_no_other(home: Path, name: str) -> None:
    wait_in_spool()
    call("send", "increment", "a", "--backend", f"sqlite:///{home}/other.db", "--pipeline", "other")
    path = home / "default" / name
    path.unlink(missing_ok=True)
    path.mkdir()
    says = f"{path}: Is a directory; move it away; what belongs there is made when it is needed"
    shown = call("status", exits=1).stdout
    assert says in shown
    assert "other → " in shown
    assert "1 accepted" in shown
    assert f"default: {says}" in call("status", "--check", exits=1).stdout
    first, second = answer("status", exits=1)["pipelines"]
    assert first["findings"] == [says]
    assert second["findings"] == []
    found = findings(exits=1)
    assert f"default: {path} is no file; move it away" in found["fail"]
    assert "other: 1 accepted" in found["ok"]


def test_a_pipeline_without_its_folder_of_segments_is_still_one(home: Path) -> None:
    call("send", "increment", "a")
    segments = Folder(home).segments
    shutil.rmtree(segments)
    assert "1 accepted = 1 delivered" in call("status").stdout
    segments.write_text("in the way")
    says = f"{segments}: Not a directory; move it away; what belongs there is made when it is needed"
    assert says in call("status", exits=1).stdout
    assert f"default: {segments} is no folder; move it away" in findings(exits=1)["fail"]
    for words in (["spool", "list"], ["spool", "check"], ["agent", "--once"], ["send", "increment", "a"]):
        assert str(segments) in call(*words, exits=1).stderr, words


def test_a_segment_that_is_a_folder_is_named_and_no_reason_to_upgrade(home: Path) -> None:
    wait_in_spool()
    odd = Folder(home).segment("0123456789abcdef01234567")
    odd.mkdir()
    assert f"unreadable here: {odd}: this is no regular file; move it away" in call("status", "--check", exits=1).stdout
    found = findings(exits=1)["fail"]
    assert f"default: {odd}: this is no regular file; move it away" in found
    assert "upgrade" not in found


@pytest.mark.parametrize("how", ["a folder", "a link to nowhere", "a link to itself"])
def test_the_doctor_finds_a_reserve_that_can_be_none(home: Path, how: str) -> None:
    wait_in_spool()
    reserve = Folder(home).reserve
    reserve.unlink()
    if how == "a folder":
        reserve.mkdir()
    else:
        reserve.symlink_to("/nowhere/at/all" if how == "a link to nowhere" else reserve)
    assert f"default: {reserve} " in findings("--offline", exits=1)["fail"]


def test_the_doctor_finds_nothing_wrong_in_a_healthy_place() -> None:
    call("send", "increment", "a")
    found = findings()
    assert (found["fail"], found["warn"]) == ("", "")
    for sight in (
        "SQLite 3",
        "is for this user to write",
        "locks and mapped files work",
        "free on the disk",
        "1 accepted",
        "answers",
    ):
        assert sight in found["ok"]


def test_the_doctor_finds_that_nobody_delivers() -> None:
    wait_in_spool()
    assert "1 record waits, and nobody delivers; run `tallystick agent`" in findings()["warn"]
    assert "nobody delivers" in findings("--max-age", "0.001s", exits=1)["fail"]


def describe_default(home: Path, url: str) -> None:
    """As a version before this one left it: its `default` keeps its target."""
    Folder(home).open().describe(backend=url, by="url", url=url)


def test_the_doctor_is_loud_about_a_database_that_wants_a_person(home: Path, tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("this is no database " * 100)
    describe_default(home, f"sqlite:///{tmp_path}/no.db")
    wait_in_spool()
    unhappy(home, last_error="Misconfigured: it is no database", action_needed=True)
    assert "all records are kept meanwhile: Misconfigured" in findings("--offline", exits=1)["fail"]
    assert f"sqlite:///{tmp_path}/no.db: " in findings(exits=1)["fail"]
    assert "to do     Misconfigured" in call("status").stdout


def test_the_doctor_and_a_question_find_the_log_that_a_moved_file_left_behind(home: Path) -> None:
    wait_in_spool()
    log = home / "default" / "records.db-wal"
    log.write_bytes(b"x" * 100)
    assert f"{log} holds records of a file that was moved away" in findings(exits=1)["fail"]
    assert f"{log} holds records" in call("query", "a", exits=1).stderr


def test_the_doctor_finds_misspelt_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    call("send", "increment", "a")
    monkeypatch.setenv("TALLYSTICK_BACKNED", "x")
    assert "TALLYSTICK_BACKNED is no setting; did you mean backend?" in findings()["warn"]


def test_the_doctor_finds_a_home_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "file"))
    assert "is no folder" in findings(exits=1)["fail"]


def test_the_doctor_finds_clocks_that_are_ahead(home: Path) -> None:
    wait_in_spool(seconds_ago=-7_300)
    assert "2.03 h in the future" in findings("--offline")["warn"]
    folder = Folder(home)
    (identity,) = folder.segment_ids()
    ahead = f"{int((time.time() + 86_400) * 1000):012x}{identity[12:]}"
    os.rename(folder.segment(identity), folder.segment(ahead))
    assert f"segment {ahead} was begun 24 h in the future" in findings("--offline")["warn"]


def test_the_doctor_finds_what_the_dead_left_behind_and_repair_removes_it(home: Path) -> None:
    call("send", "increment", "a")
    left = Folder(home).segments / "0198f3000000aaaaaaaaaaaa.new"
    left.write_bytes(bytes(100))
    os.utime(left, (1_000_000_000, 1_000_000_000))
    assert "1 files are left over" in findings("--offline")["warn"]
    call("spool", "repair", "--yes")
    assert not left.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away; run the tests as root to see it")
def test_the_doctor_finds_files_of_another_user(home: Path) -> None:
    call("send", "increment", "a")
    database = home / "default" / "records.db"
    os.chown(database, 12_345, -1)
    database.chmod(0o600)
    assert f"1 files are of another user and for him alone, such as {database}" in findings("--offline")["warn"]


def test_the_doctor_says_when_only_short_lived_processes_record(home: Path) -> None:
    program = "import os; from tallystick import Metrics; Metrics(deliver='off').increment('job'); os._exit(0)"
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=True)
    said = findings("--offline")["warn"]
    assert "3 short-lived processes recorded, and none stays to deliver" in said
    assert "run `tallystick agent`, or call `flush()` at the end of each job" in said
