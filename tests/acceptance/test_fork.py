"""Forks of every kind: the records of parent and child are complete, none is there twice, nobody waits for ever."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.acceptance.programs.forking import EACH
from tests.acceptance.stage import (
    PATIENCE_SECONDS,
    Stage,
    assert_complete,
    number_of,
    numbers_by,
    read_acknowledged,
    until,
)

from tallystick.spool.disk import is_locked


def assert_each_is_complete(stage: Stage, expected: dict[str, int]) -> None:
    found = numbers_by(stage.records(), "who")
    for who, count in expected.items():
        assert_complete(found.pop((who,), Counter()), count, who)
    assert not found
    books = stage.books()
    assert books.delivered.total() == len(stage.records())
    assert not books.dropped
    assert not stage.segments()


def children(count: int) -> dict[str, int]:
    return {f"child {number}": EACH for number in range(count)}


@pytest.mark.parametrize(
    ("scenario", "parent"),
    [
        ("os.fork", 3 * EACH),
        ("before any record", EACH),
        ("fork", 2 * EACH),
        ("spawn", 2 * EACH),
        ("forkserver", 2 * EACH),
    ],
)
def test_forked_children_and_their_parent_lose_nothing_and_double_nothing(
    stage: Stage, scenario: str, parent: int
) -> None:
    stage.start("forking", scenario, 3).ends_well()
    stage.drain()
    assert_each_is_complete(stage, {"parent": parent, **children(3)})


def test_a_child_of_a_child_loses_nothing_and_doubles_nothing(stage: Stage) -> None:
    stage.start("forking", "child of a child", 4).ends_well()
    stage.drain()
    assert_each_is_complete(stage, {**{f"generation {n}": 2 * EACH for n in (1, 2, 3)}, "generation 4": EACH})


def test_a_fork_while_other_threads_record_loses_nothing_and_deadlocks_nobody(
    stage: Stage, tmp_path: Path, thorough: bool
) -> None:
    count = 1000 if thorough else 60
    stage.start("forking", "while threads record", count).ends_well()
    stage.drain()
    first, second = read_acknowledged(tmp_path / "acknowledged")
    assert_each_is_complete(stage, {"thread 0": first, "thread 1": second, **children(count)})
    # Each process refused every fifth of its calls, and none of that was forgotten or counted in two processes.
    refused = sum(number // 5 for number in (first, second, *children(count).values()))
    assert stage.books().refused["nan"].total() == refused


def test_threads_that_fork_at_the_same_time_lose_nothing_and_deadlock_nobody(
    stage: Stage, tmp_path: Path, thorough: bool
) -> None:
    count = 300 if thorough else 40
    stage.start("forking", "while threads fork", count).ends_well()
    stage.drain()
    each = {f"child {thread}-{number}": 5 for thread in range(3) for number in range(count)}
    (acknowledged,) = read_acknowledged(tmp_path / "acknowledged")
    assert_each_is_complete(stage, {"thread 0": acknowledged, **each})


def test_a_fork_while_another_thread_makes_the_first_record_deadlocks_nobody(stage: Stage, thorough: bool) -> None:
    runs = 60 if thorough else 5
    for _ in range(runs):
        stage.start("forking", "while the first record is made", 1).ends_well()
    stage.drain()
    found = numbers_by(stage.records(), "who")
    assert set(found) == {("parent",), ("child 0",)}
    assert all(numbers == Counter(dict.fromkeys(range(1, EACH + 1), runs)) for numbers in found.values())


def test_children_that_outlive_their_parent_hold_none_of_its_locks(
    stage: Stage, tmp_path: Path, thorough: bool
) -> None:
    """What the parent left is delivered and removed although its children live."""
    count = 200 if thorough else 30
    fifo = tmp_path / "parent is dead"
    os.mkfifo(fifo)
    parent = stage.start("forking", "outliving", count)
    parent.expect("forked")
    parent.kill()

    folder = stage.folder()
    held = [path.name for path in [*folder.path.glob("*.lock"), *folder.segments.iterdir()] if is_locked(path)]
    assert not held
    stage.drain()
    assert not stage.segments()

    with open(fifo, "w"):  # the children are let go
        assert until(lambda: not parent.is_left_in_its_session())
    stage.drain()
    first, second = read_acknowledged(tmp_path / "acknowledged")
    assert_each_is_complete(stage, {"thread 0": first, "thread 1": second, **children(count)})


def ask(port: int, number: int) -> int:
    """The worker that has recorded this request; 0 when it died before it could answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(str(number).encode())
            return int(connection.recv(100) or b"0")
    except ConnectionError:
        return 0


def test_a_preforked_server_whose_workers_are_killed_loses_no_answered_request(stage: Stage, thorough: bool) -> None:
    """The master made its Metrics before it forked, and replaces the dead."""
    server = stage.start("prefork", 3)
    port = int(server.line())
    chance = random.Random(11)
    workers, killed = set[int](), set[int]()
    kills = 60 if thorough else 6
    answered, number = set[int](), 0
    with ThreadPoolExecutor(4) as clients:
        for kill in range(kills + 1):
            burst = range(number + 1, number + 101)
            number += 100
            replies = [(one, clients.submit(ask, port, one)) for one in burst]
            if kill > 0:
                victim = chance.choice(sorted(workers - killed))
                os.kill(victim, signal.SIGKILL)
                killed.add(victim)
                workers.clear()
            for one, reply in replies:
                if worker := reply.result():
                    answered.add(one)
                    workers.add(worker)
        assert all(clients.map(ask, [port] * 50, range(number + 1, number + 51)))  # all are replaced and answer
    server.send(signal.SIGTERM)
    server.ends_well()
    stage.drain()

    records = stage.records("request")
    found = Counter(map(number_of, records))
    assert max(found.values()) == 1
    answered |= set(range(number + 1, number + 51))
    assert answered <= found.keys() <= set(range(1, number + 51))
    assert number - 20 * kills <= len(answered)
    assert len({record.pid for record in records} - {server.pid}) > 3  # workers that were there later, too
    assert len(stage.records("imported")) == 1
    assert len(stage.records("worker.ended")) == kills + 3
    books = stage.books()
    assert books.delivered.total() == len(stage.records())
    assert not stage.segments()
