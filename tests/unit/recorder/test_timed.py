"""Timing blocks and functions of every sort, with the function's own behaviour unchanged."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from tests.unit.recorder.conftest import Lines

from tallystick.errors import SettingsError
from tallystick.recorder import timed as timed_module
from tallystick.recorder.metrics import Metrics


class Oops(Exception):
    pass


class Clock:
    """Goes on by one second at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timed_module, "perf_counter", clock)
    return clock


def test_a_block_is_timed_in_seconds(metrics: Metrics, lines: Lines) -> None:
    for _ in range(2):
        with metrics.timed("import.time", tags={"source": "csv"}):
            pass
    assert [line[1:] for line in lines.take()] == [["timing", "import.time", 1.0, {"source": "csv"}]] * 2


def test_use_ms_gives_whole_milliseconds_and_their_unit(metrics: Metrics, lines: Lines) -> None:
    for _ in range(2):
        with metrics.timed("t", use_ms=True):
            pass
    for line in lines.take():
        assert line[1:] == ["timing", "t", 1000, {}, {"unit": "ms"}]
        assert type(line[3]) is int


def test_a_block_that_raises_is_timed_and_raises(metrics: Metrics, lines: Lines) -> None:
    with pytest.raises(Oops), metrics.timed("t"):
        raise Oops
    assert lines.one() == ["timing", "t", 1.0]


def test_a_block_without_a_name_is_named_for_where_it_stands(metrics: Metrics, lines: Lines) -> None:
    with metrics.timed():
        pass
    assert lines.one()[1] == f"{__name__}.test_a_block_without_a_name_is_named_for_where_it_stands"


def test_a_function_is_named_for_itself(metrics: Metrics, lines: Lines) -> None:
    class Shop:
        @metrics.timed()
        def sell(self, count: int, *, price: int = 2) -> int:
            """Sells."""
            return count * price

    assert Shop().sell(3, price=5) == 15
    assert lines.one()[1] == f"{__name__}.test_a_function_is_named_for_itself.Shop.sell"
    assert Shop.sell.__doc__ == "Sells."
    assert list(inspect.signature(Shop.sell).parameters) == ["self", "count", "price"]


def test_a_function_that_raises_is_timed_and_raises(metrics: Metrics, lines: Lines) -> None:
    @metrics.timed("f")
    def fail() -> None:
        raise Oops

    with pytest.raises(Oops):
        fail()
    assert lines.one()[1] == "f"


def test_a_function_may_be_timed_within_itself(metrics: Metrics, lines: Lines) -> None:
    @metrics.timed("f")
    def down(depth: int) -> int:
        return depth and down(depth - 1)

    down(3)
    assert [line[3] for line in lines.take()] == [1.0, 3.0, 5.0, 7.0]


def test_partials_and_callable_objects_can_be_timed(metrics: Metrics, lines: Lines) -> None:
    class Adder:
        def __call__(self, number: int) -> int:
            return number + 1

    assert metrics.timed()(functools.partial(max, 3))(5) == 5
    assert metrics.timed()(Adder())(5) == 6
    assert [line[2] for line in lines.take()] == [
        "functools.partial",
        f"{__name__}.test_partials_and_callable_objects_can_be_timed.Adder",
    ]


def test_a_decorator_keeps_its_tags_for_every_call(metrics: Metrics, lines: Lines) -> None:
    tags = {"plan": "pro"}

    @metrics.timed("f", tags=tags)
    def first() -> None: ...

    @metrics.timed("f", tags=iter(["a", "b"]))
    def second() -> None: ...

    tags["plan"] = "free"
    for _ in range(2):
        first()
        second()
    assert [line[4] for line in lines.take()] == [{"plan": "pro"}, ["a", "b"]] * 2


# --- coroutines ---


def test_a_coroutine_function_stays_one_and_is_timed_until_it_returns(metrics: Metrics, lines: Lines) -> None:
    @metrics.timed("f")
    async def work(fails: bool) -> str:
        await asyncio.sleep(0)
        if fails:
            raise Oops
        return "done"

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(work(False)) == "done"
    with pytest.raises(Oops):
        asyncio.run(work(True))
    assert [line[2] for line in lines.take()] == ["f", "f"]


def test_objects_whose_call_is_a_coroutine_or_a_generator_are_timed_until_it_ends(
    metrics: Metrics, lines: Lines, clock: Clock
) -> None:
    class Waits:
        async def __call__(self) -> None:
            clock.now += 1.0

    class Steps:
        def __call__(self) -> Iterator[int]:
            clock.now += 1.0
            yield 1

    asyncio.run(metrics.timed("waits")(Waits())())
    assert list(metrics.timed("steps")(Steps())()) == [1]
    assert [line[2:4] for line in lines.take()] == [["waits", 2.0], ["steps", 2.0]]


def test_a_cancelled_coroutine_is_timed(metrics: Metrics, lines: Lines) -> None:
    @metrics.timed("f")
    async def work() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert lines.one()[1] == "f"


# --- generators ---


def talk(heard: list[Any]) -> Generator[Any, Any, str]:
    try:
        heard.append((yield 1))
        heard.append((yield 2))
    except Oops as error:
        heard.append(error)
        yield 3
    finally:
        heard.append("end")
    return "result"


def sent(generator: Any) -> Any:
    found = [next(generator), generator.send("a")]
    with pytest.raises(StopIteration) as stopped:
        generator.send("b")
    return found, stopped.value.value


def thrown(generator: Any) -> Any:
    return next(generator), generator.throw(Oops()), list(generator)


def closed(generator: Any) -> Any:
    found = next(generator)
    generator.close()
    return found


@pytest.mark.parametrize("use", [sent, thrown, closed, list])
def test_a_generator_behaves_as_without_timing(metrics: Metrics, lines: Lines, use: Callable[[Any], Any]) -> None:
    heard: tuple[list[Any], list[Any]] = ([], [])
    wrapped = metrics.timed("g")(talk)
    results = [use(function(notes)) for function, notes in zip((talk, wrapped), heard, strict=True)]
    assert results[0] == results[1]
    assert [repr(one) for one in heard[0]] == [repr(one) for one in heard[1]]
    assert len(lines.take()) == 1


def test_a_generator_is_timed_from_its_first_step_to_its_end(metrics: Metrics, lines: Lines, clock: Clock) -> None:
    @metrics.timed("g")
    def count() -> Iterator[int]:
        clock.now += 10
        yield 1
        clock.now += 10

    generator = count()
    clock.now += 100
    list(generator)
    assert lines.one()[2] == 21.0


def test_a_context_manager_made_of_a_timed_generator_sees_its_blocks_error(metrics: Metrics, lines: Lines) -> None:
    caught: list[Exception] = []

    @contextmanager
    @metrics.timed("g")
    def guard() -> Iterator[None]:
        try:
            yield
        except Oops as error:
            caught.append(error)

    with guard():
        raise Oops
    assert len(caught) == 1
    assert lines.one()[1] == "g"


# --- async generators ---


async def atalk(heard: list[Any]) -> AsyncIterator[Any]:
    try:
        heard.append((yield 1))
        await asyncio.sleep(0)
        heard.append((yield 2))
    except Oops as error:
        heard.append(error)
        yield 3
    finally:
        heard.append("end")


async def asent(generator: Any) -> Any:
    found = [await anext(generator), await generator.asend("a")]
    with pytest.raises(StopAsyncIteration):
        await generator.asend("b")
    return found


async def athrown(generator: Any) -> Any:
    return await anext(generator), await generator.athrow(Oops()), [item async for item in generator]


async def aclosed(generator: Any) -> Any:
    found = await anext(generator)
    await generator.aclose()
    return found


async def iterated(generator: Any) -> Any:
    return [item async for item in generator]


@pytest.mark.parametrize("use", [asent, athrown, aclosed, iterated])
def test_an_async_generator_behaves_as_without_timing(metrics: Metrics, lines: Lines, use: Any) -> None:
    heard: tuple[list[Any], list[Any]] = ([], [])
    wrapped = metrics.timed("g")(atalk)
    assert inspect.isasyncgenfunction(wrapped)
    results = [asyncio.run(use(function(notes))) for function, notes in zip((atalk, wrapped), heard, strict=True)]
    assert results[0] == results[1]
    assert [repr(one) for one in heard[0]] == [repr(one) for one in heard[1]]
    assert lines.one() == ["timing", "g", 1.0]


def test_an_async_context_manager_made_of_a_timed_generator_sees_its_blocks_error(
    metrics: Metrics, lines: Lines
) -> None:
    caught: list[Exception] = []

    @asynccontextmanager
    @metrics.timed("g")
    async def guard() -> AsyncIterator[None]:
        try:
            yield
        except Oops as error:
            caught.append(error)

    async def main() -> None:
        async with guard():
            raise Oops

    asyncio.run(main())
    assert len(caught) == 1
    assert lines.one()[1] == "g"


def test_an_async_generator_that_raises_is_timed_and_raises(metrics: Metrics, lines: Lines) -> None:
    @metrics.timed("g")
    async def fail() -> AsyncIterator[int]:
        yield 1
        raise Oops

    with pytest.raises(Oops):
        asyncio.run(iterated(fail()))
    assert lines.one()[1] == "g"


def test_a_timer_shared_by_threads_and_tasks_gives_each_use_its_own_time(
    metrics: Metrics, lines: Lines, clock: Clock
) -> None:
    shared = metrics.timed("t")
    outer, inner = threading.Event(), threading.Event()

    def long() -> None:
        with shared:
            outer.set()
            inner.wait(10)

    thread = threading.Thread(target=long)
    thread.start()
    outer.wait(10)
    with shared:
        pass
    inner.set()
    thread.join()
    assert [line[3] for line in lines.take()] == [1.0, 3.0]

    async def tasks() -> None:
        entered = asyncio.Event()

        async def first() -> None:
            with shared:
                entered.set()
                await asyncio.sleep(0)
                await done.wait()

        async def second() -> None:
            await entered.wait()
            with shared:
                pass
            done.set()

        done = asyncio.Event()
        await asyncio.gather(first(), second())

    asyncio.run(tasks())
    assert [line[3] for line in lines.take()] == [1.0, 3.0]


def test_a_timer_used_within_itself_times_both(metrics: Metrics, lines: Lines) -> None:
    timer = metrics.timed("t")
    with timer, timer:
        pass
    assert [line[3] for line in lines.take()] == [1.0, 3.0]


def test_bare_timed_decorates(metrics: Metrics, lines: Lines) -> None:
    @metrics.timed
    def work(number: int) -> int:
        return number

    assert work(5) == 5
    assert lines.one()[1].endswith("work")


def test_above_a_static_method_it_times_and_the_method_stays_static(metrics: Metrics, lines: Lines) -> None:
    class Shop:
        @metrics.timed("t")
        @staticmethod
        def work(number: int) -> int:
            return number

    assert Shop().work(5) == Shop.work(5) == 5
    assert len(lines.take()) == 2


UNTIMEABLE: list[Any] = [classmethod(lambda cls: cls), property(len), Clock, 5]


@pytest.mark.parametrize("given", UNTIMEABLE, ids=lambda given: type(given).__name__)
def test_what_cannot_be_timed_is_refused_when_it_is_decorated(metrics: Metrics, given: Any) -> None:
    with pytest.raises(SettingsError, match=r"^timed: .* cannot be timed; (write|decorate)"):
        metrics.timed("t")(given)
    if given != 5:
        with pytest.raises(SettingsError, match="cannot be timed"):
            metrics.timed(given)
