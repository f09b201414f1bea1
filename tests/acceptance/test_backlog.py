"""A backlog from earlier: all of it is delivered, once, and in order within each segment."""

from __future__ import annotations

import mmap
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tallystick.backends.base import WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.codec import encode_line
from tallystick.errors import Unavailable
from tallystick.pipelines.agents import spool_agent
from tallystick.recorder.metrics import Metrics
from tallystick.records import Batch
from tallystick.spool.account import account
from tallystick.spool.folder import Folder
from tallystick.spool.spool import Spool

WRITERS = 3


class Ordered(MemoryBackend):
    """Notes for each segment how far it was written to, and of each value how often it came."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.seen = mmap.mmap(-1, count)
        self.ends: dict[str, int] = defaultdict(int)
        self.out_of_order = 0
        self.order: list[str] = []
        self.failures = 0

    def write(self, batch: Batch) -> WriteResult:
        if self.failures:
            self.failures -= 1
            raise Unavailable("a moment", retry_after_seconds=0.001)
        self.out_of_order += batch.start < self.ends[batch.segment]
        self.ends[batch.segment] = batch.end
        if not self.order or self.order[-1] != batch.segment:
            self.order.append(batch.segment)
        last = -1
        for record in batch.records:
            value = record.value
            assert isinstance(value, int)
            self.out_of_order += value <= last
            last = value
            self.seen[value] += 1
        return WriteResult()


def write_backlog(folder: Folder, count: int, *, writers: int) -> None:
    """As several processes leave it: their segments interleaved; each writer counts on where it stopped."""
    spools = [Spool(folder, app=f"app-{n}", segment_bytes=1 << 20, limit_bytes=4_000_000_000) for n in range(writers)]
    now = time.time_ns()
    for start in range(0, count, 1000):
        spool = spools[start // 1000 % writers]
        for value in range(start, min(start + 1000, count)):
            assert spool.append(encode_line(now + value, "counter", "backlog", value, {"plan": "pro"}), "backlog")
    for spool in spools[:-1]:
        spool.close()
    killed = spools[-1]
    with killed._tender._working, killed._lock:  # its segments lose their locks and are not sealed
        killed._closed = True
        for segment in (*killed._tender.old, killed._segment, *killed._tender.ready):
            if segment is not None:
                segment.abandon()


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_backlog_is_delivered_once_and_in_order(home: Path, thorough: bool, mode: str) -> None:
    count = 5_000_000 if thorough else 100_000
    folder = Folder(home).open()
    write_backlog(folder, count, writers=WRITERS)
    backend = Ordered(count)
    backend.failures = 5
    agent = spool_agent(folder, backend, mode="thread" if mode == "thread" else "process")
    assert agent.run("empty")
    assert backend.seen[:].count(1) == count, "a record was lost or came twice"
    assert backend.out_of_order == 0
    assert backend.order == sorted(backend.order), "the oldest segment goes first"
    assert account(folder).delivered == {"backlog": count}
    assert account(folder).imbalance() == {}
    assert folder.segment_ids() == []


def test_what_is_recorded_meanwhile_arrives_too(home: Path) -> None:
    folder = Folder(home).open()
    write_backlog(folder, 50_000, writers=2)
    backend = Ordered(60_000)
    agent = spool_agent(folder, backend, mode="thread")
    agent.start()
    with Metrics(home=home, deliver="off") as metrics:
        for value in range(50_000, 60_000):
            metrics.increment("backlog", value)
        assert metrics.flush(timeout_seconds=60)
    assert agent.stop(timeout_seconds=60)
    assert backend.seen[:].count(1) == 60_000
    assert backend.out_of_order == 0
    assert account(folder).imbalance() == {}
