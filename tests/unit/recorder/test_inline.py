"""A backend that is written to at once (`inline = True`): whatever it does, the recording call goes on."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tallystick import Metrics
from tallystick.backends.memory import MemoryBackend
from tallystick.queries import Query
from tallystick.records import Batch


class Inlined(MemoryBackend):
    """Does `act` with a batch that holds a 13."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__()
        self.act = act

    def write(self, batch: Batch) -> Any:
        if batch.records[0].value == 13:
            return self.act()
        return super().write(batch)


def values(backend: MemoryBackend) -> list[object]:
    return [record.value for record in backend.records(Query())]


@pytest.mark.parametrize(("answer", "what"), [(None, "None"), (42, "something of type int")])
def test_an_answer_that_is_no_verdict_is_counted_and_the_log_names_backend_and_remedy(
    answer: object, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Inlined(lambda: answer)
    with Metrics(backend=backend) as metrics:
        for value in (1, 13, 2):
            metrics.increment("a", value)
        assert metrics.dropped == {("backend", "a"): 1}
        assert metrics.refused == {}
    assert values(backend) == [1, 2]
    assert f"{__name__}.Inlined.write returned {what}" in caplog.text
    assert "correct it to return a WriteResult" in caplog.text


def test_a_backends_own_exit_does_not_end_the_application(caplog: pytest.LogCaptureFixture) -> None:
    backend = Inlined(lambda: sys.exit("the backend gives up"))
    with Metrics(backend=backend) as metrics:
        for _ in range(2):  # the long way, and the short one
            metrics.increment("a", 13)
            metrics.increment("a", 1)
        assert metrics.dropped == {("backend", "a"): 2}
    assert values(backend) == [1, 1]
    assert "SystemExit: the backend gives up" in caplog.text


@pytest.fixture
def handle() -> Iterator[Callable[[Any], object]]:
    """Sets the handler of SIGUSR1 until the end of the test."""
    before = signal.getsignal(signal.SIGUSR1)
    yield functools.partial(signal.signal, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def leave(*_: object) -> None:
    sys.exit("asked to end")


class Leaver:
    def leave(self, *_: object) -> None:
        leave()

    __call__ = leave


@pytest.mark.parametrize(
    "handler",
    [
        leave,
        Leaver().leave,
        Leaver(),
        functools.partial(leave, 1),
    ],
    ids=["function", "method", "object", "partial"],
)
def test_the_exit_of_a_signal_handler_goes_through_a_backend_that_writes(
    handler: Any, handle: Callable[[Any], object]
) -> None:
    handle(handler)
    with Metrics(backend=Inlined(lambda: os.kill(os.getpid(), signal.SIGUSR1))) as metrics:
        metrics.increment("a", 1)
        with pytest.raises(SystemExit):
            metrics.increment("a", 13)
        metrics.increment("a", 2)  # and nothing is left locked


def test_ctrl_c_goes_through_a_backend_that_writes(handle: Callable[[Any], object]) -> None:
    handle(signal.default_int_handler)
    metrics = Metrics(backend=Inlined(lambda: os.kill(os.getpid(), signal.SIGUSR1)))
    with metrics, pytest.raises(KeyboardInterrupt):
        metrics.increment("a", 13)


def test_what_a_backend_says_is_logged_without_its_urls_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("hunter2 is no password of ada; see https://db/login?token=hunter3")

    backend = Inlined(fail)
    monkeypatch.setattr("tallystick.plugins.backend_from_url", lambda _: backend)
    with Metrics("local://ada:hunter2@db") as metrics:
        metrics.increment("a", 13)
    assert "RuntimeError: *** is no password of ada; see https://db/login?token=***" in caplog.text
