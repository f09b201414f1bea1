"""Many threads and tasks at once: no count is lost or doubled on its way into SQLite."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Literal

import pytest

from tallystick import Metrics, Query
from tallystick.spool.account import account
from tallystick.spool.folder import Folder

THREADS = 64


def asked(metrics: Metrics, name: str, aggregate: Literal["sum", "count"]) -> dict[str | None, float]:
    """The answer for each value of the tag "who"."""
    found = metrics.query(Query(name, aggregate=aggregate, by=["who"]))
    return {series.tags["who"]: series.points[0][1] for series in found}


def test_64_threads_lose_and_double_no_increment(home: Path, thorough: bool) -> None:
    """The short way, the long way, a handle and a bound child, in turn: each adds 10 in four calls."""
    rounds = 25_000 if thorough else 125
    metrics = Metrics(home=home, segment_bytes=8 << 20 if thorough else 65_536, spool_limit_bytes=4_000_000_000)
    start = threading.Barrier(THREADS)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        who = f"thread-{number}"
        handle, child = metrics.counter("hits", tags={"who": who}), metrics.bind(tags={"who": who})
        start.wait()
        try:
            for _ in range(rounds):
                metrics.increment("hits", tags={"who": who})
                metrics.increment("hits", 2, tags={"who": who}, metadata={"long": "way"})
                handle.inc(3)
                child.increment("hits", 4)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert metrics.flush(timeout_seconds=1800 if thorough else 60)
    everyone = [f"thread-{number}" for number in range(THREADS)]
    assert asked(metrics, "hits", "sum") == dict.fromkeys(everyone, 10 * rounds)
    assert asked(metrics, "hits", "count") == dict.fromkeys(everyone, 4 * rounds)
    metrics.close()
    books = account(Folder(home))
    assert books.imbalance() == {}
    assert books.delivered == {"hits": THREADS * 4 * rounds}


def test_the_lines_of_threads_never_mix(home: Path) -> None:
    """Long and short texts of many threads, over many rotations: each comes back whole, in its thread's order."""
    metrics = Metrics(home=home, deliver="off", segment_bytes=65_536)
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for index in range(400):
            metrics.event("said", f"{number} {index} " + chr(97 + number) * (index * 37 % 900))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics.close()
    with Metrics(home=home) as reader:
        reader.increment("wake")
        assert reader.flush(60)
    assert account(Folder(home)).delivered == {"said": 3_200, "wake": 1}
    assert account(Folder(home)).dead == {}


@pytest.mark.parametrize("tasks", [10_000])
def test_10_000_tasks_lose_and_double_no_increment(home: Path, tasks: int) -> None:
    metrics = Metrics(home=home, segment_bytes=65_536)

    @metrics.timed("task.time")
    async def task(number: int) -> None:
        who = f"group-{number % 10}"
        metrics.increment("done", tags={"who": who})
        await asyncio.sleep(0)
        metrics.increment("done", 2, tags={"who": who})

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(tasks):
                group.create_task(task(number))

    asyncio.run(main())
    assert metrics.flush(timeout_seconds=60)
    assert asked(metrics, "done", "sum") == {f"group-{number}": 3 * tasks / 10 for number in range(10)}
    (timed,) = metrics.query(Query("task.time", aggregate="count"))
    assert timed.points[0][1] == tasks
    metrics.close()
    assert account(Folder(home)).imbalance() == {}
