"""`tallystick agent` as a process: what it delivers, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.cli.running import Database, Running, as_json, eventually, tallystick

from tallystick import Metrics
from tallystick.backends import BaseBackend


def record(count: int, name: str = "a", **settings: object) -> None:
    """So many records in a spool, of a process that delivers nothing."""
    with Metrics(deliver="off", **settings) as metrics:  # type: ignore[arg-type]
        for number in range(count):
            metrics.increment(name, number)


def totals(pipeline: str | None = None) -> dict[str, int]:
    """Of one pipeline; without a name, of the only one."""
    named = () if pipeline is None else ("--pipeline", pipeline)
    (found,) = as_json("status", *named)["pipelines"]
    return dict(found["totals"])


def test_once_delivers_what_is_there_and_ends_with_0(database: Database, tmp_path: Path) -> None:
    record(5)
    done = tallystick("agent", "--once")
    assert f": 5 delivered to {database.url}" in done.stderr
    assert sorted(row[2] for row in database.rows()) == [0, 1, 2, 3, 4]
    assert tallystick("agent", "--once").returncode == 0  # nothing is left to do


def test_once_ends_with_1_when_the_database_takes_nothing_and_keeps_all(database: Database) -> None:
    record(5)
    database.says("down", "yes")
    done = tallystick("agent", "--once", ok=False)
    assert done.returncode == 1
    assert "5 pending: Unavailable: the database is down" in done.stderr
    assert totals()["pending"] == 5
    database.says("down")
    tallystick("agent", "--once")
    assert len(database.rows()) == 5


def test_once_ends_with_1_when_records_are_rejected(database: Database) -> None:
    record(2, "bad")
    record(2, "good")
    database.says("refuse", "bad")
    done = tallystick("agent", "--once", ok=False)
    assert done.returncode == 1
    assert "2 rejected" in done.stderr
    assert totals()["dead"] == 2
    assert [row[1] for row in database.rows()] == ["good", "good"]


def test_once_takes_over_from_the_thread_of_a_living_application(database: Database) -> None:
    database.says("down", "yes")
    code = (
        "import sys; from tallystick import Metrics; m = Metrics(); m.increment('a'); print('ready', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as application:
        assert application.stdout is not None
        assert application.stdout.readline() == "ready\n"
        eventually((database.folder / "asked").exists, "the application's thread tries to deliver")
        done = tallystick("agent", "--once", ok=False)
        assert "the database is down" in done.stderr, "it was our turn, and it failed"
        database.says("down")
        done = tallystick("agent", "--once")
        application.communicate("")
    assert len(database.rows()) == 1


def test_drain_waits_for_a_database_that_is_down_until_it_is_back(database: Database, tmp_path: Path) -> None:
    record(5)
    database.says("down", "yes")
    with Running(tmp_path, "agent", "--drain") as agent:
        eventually((database.folder / "asked").exists, "it tries")
        assert agent.process.poll() is None
        database.says("down")
        assert agent.process.wait(30) == 0
    assert len(database.rows()) == 5


def test_drain_ends_when_another_agent_has_emptied_the_spool(database: Database, tmp_path: Path) -> None:
    record(5)
    database.says("slow", "1")
    with Running(tmp_path, "agent") as other:
        eventually((database.folder / "writing").exists, "the other one writes")
        assert tallystick("agent", "--drain").returncode == 0
        assert len(database.rows()) == 5
        assert other.stop() == 0


@pytest.mark.parametrize(("words", "behind"), [((), 10), (("--nice", "3"), 3)])
def test_the_agent_steps_behind_the_applications(
    database: Database, tmp_path: Path, words: tuple[str, ...], behind: int
) -> None:
    record(1)
    database.says("slow", "1")
    with Running(tmp_path, "agent", *words) as agent:
        eventually((database.folder / "writing").exists, "it writes")
        priority = os.getpriority(os.PRIO_PROCESS, agent.process.pid)
        assert priority == min(19, os.getpriority(os.PRIO_PROCESS, 0) + behind)


def test_drain_that_is_stopped_before_the_end_says_so(database: Database, tmp_path: Path) -> None:
    record(5)
    database.says("down", "yes")
    with Running(tmp_path, "agent", "--drain") as agent:
        eventually((database.folder / "asked").exists, "it tries")
        assert agent.stop() == 1
        agent.waits_to_say("5 pending")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_when_the_batch_in_hand_is_done(
    database: Database, tmp_path: Path, number: signal.Signals
) -> None:
    record(5)
    database.says("slow", "1")
    with Running(tmp_path, "agent") as agent:
        eventually((database.folder / "writing").exists, "it writes")
        assert agent.stop(number) == 0
        agent.waits_to_say("stopped")
    assert len(database.rows()) == 5
    assert totals() | {"refused": 0} == {
        "accepted": 5, "delivered": 5, "pending": 0, "dead": 0, "dropped": 0, "refused": 0
    }  # fmt: skip


def test_a_database_that_hangs_does_not_hold_up_the_end_for_ever(database: Database, tmp_path: Path) -> None:
    record(5)
    database.says("slow", "600")
    with Running(tmp_path, "agent", "--stop-timeout", "0.2") as agent:
        eventually((database.folder / "writing").exists, "it writes")
        assert agent.stop() == 0
        agent.waits_to_say("did not answer in 0.2 s")
    assert totals()["pending"] == 5


def test_an_agent_that_is_stopped_while_its_database_hangs_is_no_crash_of_the_record_on_its_way(
    database: Database, tmp_path: Path
) -> None:
    record(1)
    database.says("slow", "600")
    for _ in range(4):  # more often than a record may crash the agent before it is quarantined
        database.says("writing")
        with Running(tmp_path, "agent", "--stop-timeout", "0.1") as agent:
            eventually((database.folder / "writing").exists, "it writes")
            assert agent.stop() == 0
    database.says("slow")
    tallystick("agent", "--once")
    assert len(database.rows()) == 1
    assert totals()["dead"] == 0


def test_sighup_has_it_read_the_settings_again(
    database: Database, tmp_path: Path, calm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TALLYSTICK_BACKEND")
    other = Database(tmp_path / "other")
    settings = calm / "tallystick.toml"
    settings.write_text(f'backend = "{database.url}"\n')
    record(1)
    with Running(tmp_path, "agent") as agent:
        eventually(lambda: len(database.rows()) == 1, "the first goes to the first database")
        settings.write_text("backnd = 1\n")
        agent.process.send_signal(signal.SIGHUP)
        agent.waits_to_say("going on as before")
        settings.write_text(f'backend = "{other.url}"\n')
        agent.process.send_signal(signal.SIGHUP)
        record(1, "b")
        agent.waits_to_say(f" to {other.url}")
        eventually(lambda: len(other.rows()) == 1, "the second goes to the second database")
        assert agent.stop() == 0
    assert len(database.rows()) == 1


def test_a_pipeline_that_is_made_later_is_noticed(database: Database, tmp_path: Path) -> None:
    with Running(tmp_path, "agent") as agent:
        agent.waits_to_say("nothing to deliver")
        record(3)
        eventually(lambda: len(database.rows()) == 3, "the new pipeline is delivered")
        assert agent.stop() == 0


def test_every_pipeline_goes_to_its_own_database(database: Database, tmp_path: Path) -> None:
    record(2)
    record(3, "b", backend=f"sqlite:///{tmp_path}/second.db")
    tallystick("agent", "--once")
    assert [row[1] for row in database.rows()] == ["a", "a"]
    found = as_json("query", "--backend", f"sqlite:///{tmp_path}/second.db", "--aggregate", "count")
    assert found["series"] == [{"name": "b", "tags": {}, "unit": None, "points": [[0.0, 3.0]]}]


def test_pipeline_limits_it_to_one(database: Database, tmp_path: Path) -> None:
    record(2)
    record(3, "b", backend=f"sqlite:///{tmp_path}/second.db")
    (name,) = [one["pipeline"] for one in as_json("pipeline", "list")["pipelines"] if one["target"] == database.url]
    tallystick("agent", "--once", "--pipeline", name)
    assert len(database.rows()) == 2
    assert not (tmp_path / "second.db").exists()


def test_a_second_agent_stands_by_and_takes_over(database: Database, tmp_path: Path) -> None:
    record(1)
    with Running(tmp_path, "agent") as first:
        first.waits_to_say(f" to {database.url}")
        with Running(tmp_path, "agent") as second:
            second.waits_to_say(f": an agent delivers it, pid {first.process.pid}")
            first.process.kill()
            second.waits_to_say(f" to {database.url}")
            record(1, "b")
            eventually(lambda: len(database.rows()) == 2, "the other one delivers")


def test_a_pipeline_of_a_backend_object_is_left_to_its_application(database: Database, tmp_path: Path) -> None:
    class Own(BaseBackend):
        def report(self, name: str, kind: str, value: object, tags: dict[str, str], id: str) -> None:
            """Takes everything."""

    with Metrics(backend=Own(), deliver="off") as metrics:
        metrics.increment("mine")
        pipeline = next(path.name for path in metrics.settings.home.iterdir() if path.name != "default")
    done = tallystick("agent", "--once", ok=False)
    assert done.returncode == 1, "something is pending, and was not delivered"
    assert f"not delivering {pipeline}: its application delivers to a backend object" in done.stderr
    assert totals(pipeline)["pending"] == 1


def test_a_pipeline_whose_password_is_not_written_down_is_left_alone(
    home: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database.url.replace("files://", "files://user:hunter2@")
    record(1, backend=url, pipeline="secret")
    assert "hunter2" not in "".join(path.read_text() for path in (home / "secret").glob("*.json"))
    monkeypatch.delenv("TALLYSTICK_BACKEND")
    done = tallystick("agent", "--once", ok=False)
    assert done.returncode == 1
    assert f"not delivering secret: the secret of {url.replace('hunter2', '***')} is written nowhere" in done.stderr
    assert totals("secret")["pending"] == 1
    tallystick("agent", "--once", "--pipeline", "secret", "--backend", url)
    assert len(database.rows()) == 1


def test_a_backend_without_the_pipeline_it_is_for_ends_it_at_once_with_2(database: Database) -> None:
    done = tallystick("agent", "--backend", database.url, ok=False)
    assert done.returncode == 2
    assert "needs --pipeline NAME" in done.stderr


def test_a_url_that_cannot_be_ends_it_at_once_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKEND", "nosuch://user:hunter2@host")
    done = tallystick("agent", ok=False)
    assert done.returncode == 2
    assert "no backend for nosuch://" in done.stderr
    assert "hunter2" not in done.stderr


def test_json_makes_what_it_says_json(database: Database) -> None:
    record(1)
    lines = tallystick("agent", "--once", "--json").stderr.splitlines()
    assert lines
    assert all({"time", "level", "message"} <= set(json.loads(line)) for line in lines)


def test_kill_9_in_the_middle_loses_nothing_and_the_next_one_delivers(database: Database, tmp_path: Path) -> None:
    record(5)
    database.says("slow", "600")
    with Running(tmp_path, "agent") as agent:
        eventually((database.folder / "writing").exists, "it writes")
        os.kill(agent.process.pid, signal.SIGKILL)
        agent.process.wait(10)
    database.says("slow")
    tallystick("agent", "--once")
    assert sorted(row[2] for row in database.rows()) == [0, 1, 2, 3, 4]


def test_a_named_pipeline_that_is_not_there_yet_is_waited_for(database: Database, tmp_path: Path) -> None:
    with Running(tmp_path, "agent", "--pipeline", "later") as agent:
        agent.waits_to_say("nothing to deliver")
        record(1, pipeline="later")
        eventually(lambda: len(database.rows()) == 1, "it is delivered")
        assert agent.stop() == 0
    assert tallystick("agent", "--once", "--pipeline", "nosuch", ok=False).returncode == 2


def test_how_long_records_are_kept_is_said_for_the_settings_own_pipeline_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("own", "other")]
    for url in urls:
        with Metrics(url, deliver="off") as metrics:
            metrics.increment("old", timestamp=1_700_000_000)
            metrics.increment("new")
    monkeypatch.setenv("TALLYSTICK_BACKEND", urls[0])
    monkeypatch.setenv("TALLYSTICK_RETENTION_DAYS", "1")
    with Running(tmp_path, "agent"):

        def kept(url: str) -> int:
            found = as_json("indices", "--backend", url, ok=False)
            return int(found["indices"][0]["records"])

        eventually(
            lambda: not any(one["totals"]["pending"] for one in as_json("status")["pipelines"]), "all is delivered"
        )
        eventually(lambda: kept(urls[0]) == 1, "the old record of our own is forgotten")
        assert kept(urls[1]) == 2
