"""What a backend answers and says: an answer that is none loses nothing, and a secret in a text is not passed on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.cli.calling import answer as command_answer
from tests.unit.cli.calling import call

from tallystick.agent.chores import Retention
from tallystick.backends.base import ACCEPTED, WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.codec import encode_line
from tallystick.errors import Unavailable
from tallystick.pipelines.agents import spool_agent
from tallystick.queries import Query
from tallystick.records import Batch
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder
from tallystick.spool.spool import Spool

NAME = f"{__name__}.Answering"


class Answering(MemoryBackend):
    def __init__(self, act: Callable[[Batch], Any]) -> None:
        super().__init__()
        self.act = act

    def write(self, batch: Batch) -> Any:
        answer = self.act(batch)
        return super().write(batch) if answer is ACCEPTED else answer


@pytest.fixture
def folder(home: Path) -> Folder:
    """With three records in it."""
    folder = Folder(home).open()
    spool = Spool(folder, segment_bytes=4096)
    for value in range(3):
        assert spool.append(encode_line(1_763_683_200_000_000_000, "counter", "n", value, {}), "n")
    spool.close()
    return folder


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (None, "None; correct it to return a WriteResult"),
        (42, "something of type int; correct it to return a WriteResult"),
        (WriteResult(rejected={3: "no"}), "no mapping of an index, here from 0 to 2, to a reason"),
        (WriteResult(kept={-1: "no"}), "no mapping of an index, here from 0 to 2, to a reason"),
        (WriteResult(rejected=["no"]), "no mapping of an index, here from 0 to 2, to a reason"),  # type: ignore[arg-type]
        (WriteResult(kept=None), "no mapping of an index, here from 0 to 2, to a reason"),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_an_answer_that_is_no_verdict_keeps_all_and_names_backend_and_remedy(
    folder: Folder, answer: Any, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Answering(lambda _: answer)
    agent = spool_agent(folder, backend)
    assert agent.run("passed") is False
    assert f"{NAME}.write returned " in caplog.text
    assert what in caplog.text
    assert account(folder).pending == {"n": 3}
    assert account(folder).dead == {}
    assert agent.report.heartbeat.action_needed, "a person must act, and `doctor` says so"
    assert "write returned" in call("status").stdout
    backend.act = lambda _: ACCEPTED
    assert spool_agent(folder, backend).run("passed")
    assert [record.value for record in backend.records(Query())] == [0, 1, 2], (
        "nothing was lost, nothing is there twice"
    )


PASSWORD = "p@ss/w:rd"
URL = f"db://ada:{quote(PASSWORD, safe='')}@metrics-1:5432/shop?api_key=k3y-0f-ada"
SAYS = f"login of ada with {PASSWORD!r} at {URL} or k3y-0f-ada failed"
SHOWN = "login of ada with '***' at db://ada:***@metrics-1:5432/shop?api_key=*** or *** failed"


def test_a_password_in_an_error_shows_neither_in_the_log_nor_in_the_status(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    def down(batch: Batch) -> WriteResult:
        raise Unavailable(SAYS)

    with caplog.at_level(logging.DEBUG):
        assert spool_agent(folder, Answering(down), url=URL).run("passed") is False
    assert SHOWN in caplog.text
    (found,) = command_answer("status")["pipelines"]
    assert SHOWN in found["agent"]["last_error"]
    said = [call("status").stdout, call("doctor", "--max-age", "400d").stdout]
    everything = "\n".join([caplog.text, *said, folder.agent.read_text()])
    assert [secret for secret in (PASSWORD, quote(PASSWORD, safe=""), "k3y-0f-ada") if secret in everything] == []


@pytest.mark.parametrize("way", ["raised", "rejected"])
def test_a_password_in_a_reason_does_not_reach_the_dead_letters(folder: Folder, way: str) -> None:
    def refuse(batch: Batch) -> WriteResult:
        if way == "raised":
            if len(batch) == 1 and batch.records[0].value == 0:
                return ACCEPTED
            raise ValueError(SAYS)
        return WriteResult(dict.fromkeys(range(1, len(batch)), SAYS))

    assert spool_agent(folder, Answering(refuse), url=URL).run("passed")
    reasons = {letter.reason for letter in DeadLetters(folder).state().letters.values()}
    assert reasons == {f"ValueError: {SHOWN}" if way == "raised" else SHOWN}
    assert PASSWORD not in folder.dead.read_text()


def test_a_reason_that_is_no_text_becomes_one(folder: Folder) -> None:
    backend = Answering(lambda batch: WriteResult(dict.fromkeys(range(1, len(batch)), KeyError("plan"))))  # type: ignore[arg-type]
    assert spool_agent(folder, backend).run("passed")
    assert {letter.reason for letter in DeadLetters(folder).state().letters.values()} == {"'plan'"}


def test_a_password_in_an_error_of_forgetting_does_not_show_and_delivery_goes_on(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(MemoryBackend):
        def prune(self, before: float) -> int:
            raise KeyError(SAYS)

    backend = Stubborn()
    assert spool_agent(folder, backend, chores=[Retention(backend, 7)], url=URL).run("empty")
    assert len(list(backend.records(Query()))) == 3
    assert "does not forget records older than 7 days: KeyError" in caplog.text
    assert "k3y-0f-ada" not in caplog.text
