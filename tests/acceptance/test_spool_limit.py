"""The spool's size limit: each policy does what it says, and what had to go is counted exactly, by name."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.latency import Latencies, assert_never_blocked
from tests.acceptance.stage import Running, Stage

from tallystick.backends.base import WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.errors import Unavailable
from tallystick.pipelines.agents import spool_agent
from tallystick.recorder.metrics import Metrics
from tallystick.records import Batch
from tallystick.settings import table
from tallystick.spool.account import Account, account
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder
from tallystick.spool.source import SpoolSource

SEGMENT_BYTES = 65_536
LIMIT_BYTES = 8 * SEGMENT_BYTES


class Kept(MemoryBackend):
    """Counts what was stored by name, each place once; answers only while `up` is set."""

    def __init__(self, *, up: bool = True) -> None:
        super().__init__()
        self.places: dict[str, tuple[str, Any]] = {}
        self.up = threading.Event()
        self.asked = threading.Event()
        if up:
            self.up.set()

    def write(self, batch: Batch) -> WriteResult:
        self.asked.set()
        if not self.up.is_set():
            raise Unavailable("not yet", retry_after_seconds=0.01)
        for record in batch.records:
            self.places.setdefault(record.id, (record.name, record.value))
        return WriteResult()

    def names(self) -> Counter[str]:
        return Counter(name for name, _ in self.places.values())


def total(dropped: dict[str, Counter[str]]) -> Counter[str]:
    return sum(dropped.values(), Counter())


def reported(writer: Running) -> Counter[str]:
    """What a writer knows of its own drops, by name."""
    return sum((Counter({name: count}) for _, name, count in json.loads(writer.expect("recorded"))), Counter())


def drained(folder: Folder, backend: Kept) -> Account:
    assert spool_agent(folder, backend).run("passed")
    books = account(folder)
    assert books.imbalance() == {}
    assert books.pending == {}
    return books


@pytest.mark.parametrize("policy", ["drop_new", "drop_old", "block"])
def test_two_writers_and_an_agent_at_once_account_for_every_record_by_name(
    stage: Stage, policy: str, thorough: bool
) -> None:
    count = 60_000 if thorough else 6_000
    writers = [stage.start("fill_spool", policy, LIMIT_BYTES, count, f"both.{policy}", f"own.{n}") for n in (1, 2)]
    for writer in writers:
        writer.expect("ready")
    backend = Kept(up=False)
    agent = spool_agent(stage.folder(), backend, mode="thread")
    agent.start()
    for writer in writers:
        writer.tell("go")
    assert backend.asked.wait(60)
    time.sleep(0.3 if policy != "block" else 0.05)  # an outage as long as that: the spool fills meanwhile
    backend.up.set()
    for writer in writers:
        reported(writer)
    for writer in writers:
        writer.tell("close")
        writer.ends_well()
    assert agent.stop(60)
    books = drained(stage.folder(), backend)
    asked = Counter({f"both.{policy}": 2 * count, "own.1": count, "own.2": count})
    assert backend.names() + total(books.dropped) == asked
    assert books.accepted == asked
    assert books.delivered == backend.names()
    assert set(books.dropped) <= {"spool_limit"} | ({"drop_old"} if policy == "drop_old" else set())
    if policy != "block":
        assert total(books.dropped), "the limit was never reached"


def test_drop_new_keeps_the_oldest_and_drop_old_the_newest(stage: Stage) -> None:
    kept = {}
    for policy in ("drop_new", "drop_old"):
        writer = stage.start("fill_spool", policy, LIMIT_BYTES, 30_000, policy)
        writer.expect("ready")
        writer.tell("go")
        reported(writer)
        time.sleep(0.2)  # the spool looks for room again so often
        writer.tell("again 10")
        reported(writer)
        writer.kill()
        backend = Kept()
        drained(stage.folder(), backend)
        kept[policy] = [value for _, value in backend.places.values()]
    assert kept["drop_new"][:100] == list(range(100))
    assert kept["drop_old"][-10:] == list(range(10))
    assert 0 not in kept["drop_old"][:-10]


def test_drop_old_drops_while_the_backend_does_not_answer_but_never_what_is_on_its_way(home: Path) -> None:
    backend = Kept(up=False)
    folder = Folder(home).open()
    agent = spool_agent(folder, backend, mode="thread")
    agent.start()
    with Metrics(
        home=home, deliver="off", segment_bytes=SEGMENT_BYTES, spool_limit_bytes=LIMIT_BYTES, when_full="drop_old"
    ) as metrics:
        metrics.increment("n", 0)
        assert backend.asked.wait(10)  # the first record is on its way from the segment that is being written
        for value in range(1, 60_001):
            metrics.increment("n", value)
            if value % 1000 == 0:
                time.sleep(0.02)  # no faster than the thread that makes room
        assert sum(metrics.dropped.values()) < 6_000, "the new went instead of the old"
    backend.up.set()
    agent.stop(60)
    books = drained(folder, backend)
    values = [value for _, value in backend.places.values()]
    assert values[0] == 0, "what was on its way was dropped"
    assert values[-1] == 60_000
    assert books.dropped["drop_old"]["n"] > 20_000
    assert len(values) + sum(total(books.dropped).values()) == 60_001
    assert books.accepted["n"] == 60_001


def test_what_was_delivered_of_a_segment_before_it_was_dropped_is_not_counted_as_dropped(stage: Stage) -> None:
    """Delivered from the living writer's segment, settled, the positions not saved yet: then it is dropped."""
    writer = stage.start("fill_spool", "drop_new", 100 * SEGMENT_BYTES, 500, "n")
    writer.expect("ready")
    writer.tell("go")
    reported(writer)
    backend = Kept()
    folder = stage.folder()
    agent = spool_agent(folder, backend)
    assert agent._election.won()
    source = SpoolSource(folder, DeadLetters(folder))
    delivery = source.receive(200)
    assert delivery is not None
    source.settle(delivery, backend.write(delivery.batch).rejected)
    writer.kill()
    with Metrics(
        home=stage.home, deliver="off", segment_bytes=131_072, spool_limit_bytes=131_072, when_full="drop_old"
    ):
        pass  # opening it makes room: the writer's segment goes
    assert folder.segment_ids() == []
    assert account(folder).imbalance() == {}
    source.close()
    agent._election.resign()
    books = drained(folder, backend)
    assert backend.names()["n"] == len(delivery.batch)
    assert books.delivered["n"] == len(delivery.batch)
    assert books.dropped == {"drop_old": Counter(n=500 - len(delivery.batch))}
    assert books.accepted["n"] == 500


def test_block_waits_for_room_and_drops_nothing_when_it_comes_in_time(home: Path) -> None:
    backend = Kept()
    with Metrics(
        home=home,
        deliver="off",
        segment_bytes=SEGMENT_BYTES,
        spool_limit_bytes=2 * SEGMENT_BYTES,
        when_full="block",
        block_timeout_seconds=30.0,
    ) as metrics:
        agent = spool_agent(Folder(home), backend, mode="thread")
        agent.start()
        for value in range(12_000):
            metrics.increment("n", value)
        assert metrics.dropped == {}
        metrics.close()
        assert agent.stop(30)
    drained(Folder(home), backend)
    assert [value for _, value in backend.places.values()] == list(range(12_000))


def test_block_gives_up_after_its_timeout_and_counts(home: Path) -> None:
    with Metrics(
        home=home,
        deliver="off",
        segment_bytes=SEGMENT_BYTES,
        spool_limit_bytes=2 * SEGMENT_BYTES,
        when_full="block",
        block_timeout_seconds=0.2,
    ) as metrics:
        took = 0.0
        while not metrics.dropped:
            began = time.monotonic()
            metrics.increment("n")
            took = time.monotonic() - began
        assert 0.2 <= took < 5
        assert metrics.dropped == {("spool_limit", "n"): 1}


@pytest.mark.parametrize("policy", ["drop_new", "drop_old"])
def test_the_limit_is_kept_but_for_what_its_setting_says(home: Path, policy: str) -> None:
    folder = Folder(home)
    with Metrics(
        home=home, deliver="off", segment_bytes=SEGMENT_BYTES, spool_limit_bytes=400_000, when_full=policy
    ) as metrics:
        metrics.gauge("n", float("nan"))  # one that is counted as refused
        for value in range(30_000):
            metrics.increment("n", value)
        counts = sum(path.stat().st_size for path in folder.segments.glob("*.tally"))
        assert counts == 64 << 10
        spare = SEGMENT_BYTES if policy == "drop_new" else 0  # two threads may each make the last one
        assert account(folder).size_bytes <= 400_000 + counts + spare
        on_top = sum(path.stat().st_size for path in folder.path.iterdir() if path.is_file())
        assert 1 << 20 <= on_top < (1 << 20) + 4096
    said = table()["spool_limit_bytes"].sentence
    assert "64 KiB of counts for each process that dropped or refused something belong to it" in said
    assert "On top come 1 MiB of reserve" in said


def test_counts_of_drops_survive_kill_9_of_the_writer(stage: Stage) -> None:
    writer = stage.start("fill_spool", "drop_new", 2 * SEGMENT_BYTES, 5_000, "a", "b")
    writer.expect("ready")
    writer.tell("go")
    known = reported(writer)
    writer.kill()
    assert sum(known.values()) > 5_000
    before = account(stage.folder())
    assert total(before.dropped) == known
    books = drained(stage.folder(), Kept())
    assert total(books.dropped) == known
    assert books.accepted == {"a": 5_000, "b": 5_000}
    assert stage.folder().tally_ids() == []


@pytest.mark.parametrize("policy", ["drop_new", "drop_old"])
def test_a_call_on_a_full_spool_never_blocks_for_five_milliseconds(home: Path, policy: str, thorough: bool) -> None:
    latencies = Latencies()
    with Metrics(
        home=home, deliver="off", segment_bytes=SEGMENT_BYTES, spool_limit_bytes=LIMIT_BYTES, when_full=policy
    ) as metrics:
        for _ in range(1_000_000 if thorough else 60_000):
            latencies.call(metrics.increment, "n", 7, tags={"plan": "pro"})
        assert metrics.dropped or policy == "drop_old"
    assert_never_blocked(latencies.figures())
