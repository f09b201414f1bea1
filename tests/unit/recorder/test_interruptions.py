"""Exceptions from outside end a call and reach the application; the record of the call is there once, or not at all."""

from __future__ import annotations

import ctypes
import functools
import gc
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tallystick import Metrics, Record
from tallystick.backends.base import BaseBackend

# Only this clock strikes in the midst of system calls, too. It is also pytest-timeout's own, which would
# be stopped by the first test that sets it: so here a thread keeps the tests' time.
pytestmark = [
    pytest.mark.timeout(method="thread"),
    # The limit may strike before a folder that was opened is taken care of; Python closes it, and would say so in code
    # of its own, where what strikes is lost.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class Limit(Exception):
    """As job queues raise for a job that takes too long."""


def raise_limit(*_: object) -> None:
    raise Limit


class Raiser:
    def __call__(self, *_: object) -> None:
        raise Limit

    def method(self, *_: object) -> None:
        raise TimeoutError


HANDLERS: dict[str, Callable[..., None]] = {
    "a function": raise_limit,
    "an object": Raiser(),
    "a method": Raiser().method,
    "a partial": functools.partial(raise_limit, 1),
}


@pytest.fixture(autouse=True)
def time_limit_of_the_test_itself() -> Iterator[None]:
    """It is an alarm, too (pytest-timeout's), and no test here may take it away."""
    handler, armed = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0
    yield
    assert signal.getsignal(signal.SIGALRM) is handler
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == armed


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    """Hypothesis follows it with a callback in Python, and an exception that strikes in there reaches nobody."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@contextmanager
def limits(handler: Callable[..., None]) -> Iterator[list[int]]:
    """How often the handler was called."""
    called: list[int] = []

    @functools.wraps(handler)
    def counting(*given: object) -> None:
        called.append(1)
        handler(*given)

    before = signal.signal(signal.SIGALRM, counting)
    try:
        yield called
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def values(home: Path) -> Counter[Any]:
    """Of all lines in the spool."""
    files = home.glob("*/segments/*.jsonl")
    lines = (line for path in files for line in path.read_bytes().split(b"\n")[1:] if line.startswith(b"["))
    return Counter(json.loads(line)[3] for line in lines)


CALLS: dict[str, Callable[[Metrics], Callable[[int], object]]] = {
    "increment": lambda metrics: lambda n: metrics.increment("x", n),
    "increment with tags": lambda metrics: lambda n: metrics.increment("x", n, tags={"plan": "pro"}),
    "gauge": lambda metrics: lambda n: metrics.gauge("x", n),
    "timing": lambda metrics: lambda n: metrics.timing("x", n),
    "handle": lambda metrics: metrics.counter("x").inc,
    "the long way": lambda metrics: lambda n: metrics.custom("x", "order", n),
    "ready record": lambda metrics: lambda n: metrics.record(Record(time.time_ns(), "gauge", "x", n)),
}


@pytest.mark.parametrize("fsync", ["interval", "always"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_signal_handlers_exception_reaches_the_application_and_doubles_nothing(
    home: Path, call: Callable[[Metrics], Callable[[int], object]], fsync: str, thorough: bool
) -> None:
    returned, numbers = set[int](), count(1)

    def record_until_the_limit(record: Callable[[int], object], limit: int) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)
        while len(called) < limit:
            number = next(numbers)
            record(number)
            returned.add(number)

    with Metrics(home=home, deliver="off", fsync=fsync, segment_bytes=65_536) as metrics, limits(raise_limit) as called:
        record = call(metrics)
        record(0)
        for limit in range(1, 2_001 if thorough else 101):
            with pytest.raises(Limit):  # else nobody but the library can have caught it
                record_until_the_limit(record, limit)
        refused = metrics.refused
    found = values(home)
    assert not refused
    assert not {number: times for number, times in found.items() if times > 1}
    assert not returned - set(found)


def record_on(metrics: Metrics) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.002)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        metrics.event("x", "text")


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_whatever_the_handler_is_its_exception_reaches_the_application(
    home: Path, handler: Callable[..., None]
) -> None:
    with Metrics(home=home, deliver="off") as metrics, limits(handler):
        for _ in range(20):
            with pytest.raises((Limit, TimeoutError)):
                record_on(metrics)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_handler_that_takes_itself_away_before_it_raises_is_heard(
    home: Path, call: Callable[[Metrics], Callable[[int], object]]
) -> None:
    def once(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise TimeoutError("limit")

    numbers, returned = count(), set()

    def record_until_the_limit(record: Callable[[int], object]) -> None:
        signal.signal(signal.SIGALRM, once)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        while signal.getsignal(signal.SIGALRM) is once:
            number = next(numbers)
            record(number)
            returned.add(number)

    with Metrics(home=home, deliver="off") as metrics, limits(raise_limit):
        record = call(metrics)
        record(-1)
        for _ in range(50):
            with pytest.raises(TimeoutError):
                record_until_the_limit(record)
    found = values(home)
    assert not {number: times for number, times in found.items() if times > 1}
    assert not returned - set(found)


class Worded(Exception):
    """As a time limit that says how long it was."""

    def __init__(self) -> None:
        super().__init__("after 1 s")


@pytest.mark.parametrize("thrown", [Limit, Worded, TimeoutError, ValueError])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_exception_thrown_into_a_thread_ends_its_work_and_doubles_nothing(
    home: Path, call: Callable[[Metrics], Callable[[int], object]], thrown: type[Exception]
) -> None:
    everything: list[int] = []
    with Metrics(home=home, deliver="off") as metrics:
        record = call(metrics)
        record(-1)
        for turn in range(10):
            returned: list[int] = []
            done = threading.Event()

            def work(numbers: range, returned: list[int] = returned, done: threading.Event = done) -> None:
                try:
                    for number in numbers:
                        record(number)
                        returned.append(number)
                except thrown:
                    done.set()

            thread = threading.Thread(target=work, args=(range(turn * 10**7, (turn + 1) * 10**7),))
            thread.start()
            while not returned:
                time.sleep(0.0001)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(thrown))
            thread.join(30)
            everything += returned
            assert done.is_set()
        assert not metrics.refused
    found = values(home)
    assert not {number: times for number, times in found.items() if times > 1}
    assert not set(everything) - set(found)


class Failing(BaseBackend):
    inline = True

    def report(self, name: str, kind: str, value: Any, tags: Any, id: str) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            pass


def test_a_limit_that_strikes_in_an_inline_backend_reaches_the_application() -> None:
    def record(metrics: Metrics) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        metrics.increment("x")

    with Metrics(Failing()) as metrics, limits(raise_limit), pytest.raises(Limit):
        record(metrics)


class Boom(Exception):
    """Of an object's own code."""


class Explosive(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise Boom

    __hash__ = str.__hash__


class Waiting(dict[str, str]):
    """Tags that come from elsewhere, too late: what they raise says nothing, and begins in a module of Python's."""

    def __iter__(self) -> Iterator[str]:
        raise Future[str]().exception(timeout=0) or AssertionError

    def keys(self) -> Any:
        return Future[Any]().result(timeout=0)


def test_what_an_objects_own_code_raises_still_ends_no_call(home: Path) -> None:
    with Metrics(home=home, deliver="off") as metrics, limits(raise_limit):
        for number in range(3):
            metrics.increment("x", number, tags={"plan": Explosive("pro")})
            metrics.increment("y", number, tags=Waiting(plan="pro"))
            metrics.gauge("x", number, tags={"plan": Explosive("pro")})
        assert sum(metrics.refused.values()) + values(home).total() >= 3
