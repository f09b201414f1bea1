"""`tallystick send`: what a shell records is kept, or the exit code says that it is not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from tests.unit.cli.calling import answer, call, lines

from tallystick import Metrics
from tallystick.backends import BaseBackend


def values(name: str) -> list[object]:
    return [one["value"] for one in lines("tail", name, "--no-follow", "--json")]


def test_each_kind_is_recorded_with_its_tags_and_unit() -> None:
    call("send", "increment", "signup", "--tag", "plan=pro", "--tag", "env=prod")
    call("send", "decrement", "signup", "3")
    call("send", "gauge", "depth", "-17.5", "--unit", "B")
    call("send", "timing", "search", "0.042")
    call("send", "event", "deploy", "v42 is out")
    assert values("signup") == [1, -3]
    assert values("depth") == [-17.5]
    assert values("search") == [0.042]
    assert values("deploy") == ["v42 is out"]
    (first, *_) = lines("tail", "signup", "--no-follow", "--json")
    assert first["tags"] == {"plan": "pro", "env": "prod"}
    (depth,) = lines("tail", "depth", "--no-follow", "--json")
    assert (depth["unit"], depth["app"]) == ("B", "tallystick")


def test_it_says_where_the_record_went(home: Path) -> None:
    assert call("send", "increment", "a").stdout == f"recorded, and delivered to sqlite:///{home}/default/records.db\n"
    assert answer("send", "increment", "a") == {
        "recorded": True,
        "delivered": True,
        "pipeline": "default",
        "target": f"sqlite:///{home}/default/records.db",
    }


def test_what_the_database_does_not_take_is_kept_and_that_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKEND", f"sqlite:///{tmp_path}/none/x.db")
    (tmp_path / "none").write_text("a file, where a folder has to be")
    done = call("send", "increment", "a", "--wait", "0.2")
    assert "recorded; it waits in" in done.stdout
    assert "run `tallystick agent`" in done.stdout
    assert answer("status")["pipelines"][0]["totals"]["pending"] == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gauge", "depth", "many"], "'many' is no number"),
        (["gauge", "depth"], "gauge needs a VALUE"),
        (["gauge", "depth", "nan"], "nan is not finite"),
        (["increment", ""], "name"),
        (["event", "x", "y", "--unit", "B"], "an event has no --unit"),
        (["increment", "x", "--tag", "plan"], "--tag: 'plan' must be TAG=VALUE"),
        (["histogram", "x"], "'histogram' is not one of"),
    ],
)
def test_what_no_record_can_be_ends_with_2(words: list[str], says: str) -> None:
    assert says in call("send", *words, exits=2).stderr


def test_a_record_that_found_no_room_ends_with_1(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    call("send", "increment", "a")
    monkeypatch.setenv("TALLYSTICK_SPOOL_LIMIT_BYTES", "131072")
    (home / "default" / "segments" / "full.new").write_bytes(bytes(131_072))
    done = call("send", "increment", "a", exits=1)
    assert "not recorded: spool_limit" in done.stderr


def test_records_for_one_database_never_reach_another(home: Path, tmp_path: Path) -> None:
    with Metrics(f"sqlite:///{tmp_path}/one.db", deliver="off") as metrics:
        metrics.increment("a")
    (found,) = answer("status")["pipelines"]
    sent = answer("send", "increment", "b", "--pipeline", found["pipeline"])
    assert sent["target"] == f"sqlite:///{tmp_path}/one.db"
    assert not (home / found["pipeline"] / "records.db").exists()


def test_a_pipeline_of_a_backend_object_is_not_recorded_into(home: Path) -> None:
    class Own(BaseBackend):
        def report(self, name: str, kind: str, value: object, tags: dict[str, str], id: str) -> None:
            """Takes everything."""

    with Metrics(backend=Own(), deliver="off") as metrics:
        metrics.increment("a")
    (pipeline,) = os.listdir(home)
    before = (home / pipeline / "pipeline.json").read_bytes()
    assert "a backend object of its own" in call("send", "increment", "b", "--pipeline", pipeline, exits=2).stderr
    assert "there is no 'nosuch'" in call("send", "increment", "b", "--pipeline", "nosuch", exits=2).stderr
    assert (home / pipeline / "pipeline.json").read_bytes() == before


def test_a_thread_of_its_own_that_waits_for_its_database_is_nobody_who_delivers_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"postgresql://ada@127.0.0.1:{deaf.getsockname()[1]}/db?connect_timeout_seconds=2"
        assert "run `tallystick agent` to" in call("send", "increment", "a", "--wait", "0.5", "--backend", url).stdout
