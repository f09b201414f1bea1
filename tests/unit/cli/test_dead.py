"""`tallystick dead`: looking at what was rejected, and having it delivered again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.calling import answer, call

from tallystick import Metrics
from tallystick.backends import BaseBackend
from tallystick.pipelines.agents import spool_agent
from tallystick.spool.folder import Folder


class Choosy(BaseBackend):
    """Rejects a value until it is mended."""

    mended = False

    def __init__(self) -> None:
        self.taken: list[object] = []

    def report(self, name: str, kind: str, value: object, tags: dict[str, str], id: str) -> None:
        if not self.mended and isinstance(value, int) and value >= 10:
            raise ValueError(f"no {value} here")
        self.taken.append(value)


@pytest.fixture
def backend(home: Path) -> Choosy:
    """It took 1, and rejected 10 and 11."""
    made = Choosy()
    with Metrics(deliver="off", app="shop") as metrics:
        for value in (1, 10, 11):
            metrics.increment("sale", value)
    assert spool_agent(Folder(home), made).run("passed")
    return made


def test_list_and_show_tell_the_reason_and_the_record(backend: Choosy) -> None:
    found = answer("dead", "list")
    assert [(one["name"], one["reason"]) for one in found] == [
        ("sale", "ValueError: no 10 here"),
        ("sale", "ValueError: no 11 here"),
    ]
    shown = call("dead", "list").stdout
    assert "no 10 here" in shown
    one = answer("dead", "show", found[0]["id"])
    assert one["record"]["value"] == 10
    assert one["header"]["app"] == "shop"
    assert '"value": 10' in call("dead", "show", found[0]["id"]).stdout
    assert [one["reason"][-7:] for one in answer("dead", "list", "--reason", "11")] == ["11 here"]


def test_retry_delivers_it_when_the_cause_is_mended(backend: Choosy, home: Path) -> None:
    done = call("dead", "retry", "--all")
    assert "2 to be delivered again" in done.stdout
    assert "nobody delivers default; run `tallystick agent --once --pipeline default`" in done.stdout
    assert all(one["retry_asked"] for one in answer("dead", "list"))
    spool_agent(Folder(home), backend).run("passed")
    assert len(answer("dead", "list")) == 2, "the cause is not mended, so they come back"
    backend.mended = True
    call("dead", "retry", "--reason", "no 10 here")
    spool_agent(Folder(home), backend).run("passed")
    assert backend.taken == [1, 10]
    assert [one["reason"] for one in answer("dead", "list")] == ["ValueError: no 11 here"]
    assert answer("status")["pipelines"][0]["totals"] == {
        "accepted": 3, "delivered": 2, "pending": 0, "dead": 1, "dropped": 0, "refused": 0
    }  # fmt: skip


def test_drop_asks_first_and_is_counted(backend: Choosy) -> None:
    identity = answer("dead", "list")[0]["id"]
    assert "Give up 1 dead letters for good?" in call("dead", "drop", identity, types="n\n", exits=1).stderr
    assert len(answer("dead", "list")) == 2
    call("dead", "drop", identity, types="y\n")
    call("dead", "drop", "--all", "--yes")
    assert answer("dead", "list") == []
    (found,) = answer("status")["pipelines"]
    assert found["dropped"] == {"dead_letter": {"sale": 2}}
    assert found["line"] == "3 accepted = 1 delivered + 0 pending + 0 dead + 2 dropped"


def test_an_id_that_is_none_or_several_is_refused(backend: Choosy) -> None:
    segment = answer("dead", "list")[0]["id"].split("-")[0]
    assert "2 dead letters have an id that begins with" in call("dead", "show", segment, exits=2).stderr
    assert "no dead letter has an id" in call("dead", "retry", "nosuch", exits=2).stderr
    assert "name the dead letters" in call("dead", "retry", exits=2).stderr
    assert "name the dead letters" in call("dead", "drop", "x", "--all", exits=2).stderr


def test_a_damaged_line_can_be_dropped_and_not_retried(home: Path) -> None:
    with Metrics(deliver="off") as metrics:
        metrics.increment("a")
    folder = Folder(home)
    path = folder.segment(*folder.segment_ids())
    path.write_bytes(path.read_bytes().replace(b"counter", b"c\xffunter"))
    spool_agent(folder, Choosy()).run("passed")
    (found,) = answer("dead", "list")
    assert found["record"] is None
    assert "damaged line" in call("dead", "list").stdout
    assert "1 are damaged lines, which nothing can deliver" in call("dead", "retry", "--all", exits=1).stdout
    call("dead", "drop", "--all", "--yes")
    assert answer("dead", "list") == []


def test_retry_says_that_only_the_application_delivers_to_its_backend_object(home: Path) -> None:
    with Metrics(Choosy(), pipeline="own") as metrics:
        for value in (1, 10):
            metrics.increment("sale", value)
        assert metrics.flush()
    said = call("dead", "retry", "--all").stdout
    assert "nobody delivers own; its application does when it runs again: its application delivers to a backend" in said
    assert "agent --once" not in said


def test_without_dead_letters_it_says_so() -> None:
    assert call("dead", "list").stdout == "No dead letters.\n"
    assert "0 to be delivered again" in call("dead", "retry", "--all").stdout


def test_dropping_with_nobody_to_answer_drops_nothing_and_names_the_option(backend: Choosy) -> None:
    done = call("dead", "drop", "--all", exits=2)
    assert done.stderr == "tallystick: Give up 2 dead letters for good? nobody is there to answer; give --yes\n"
    assert len(answer("dead", "list")) == 2
