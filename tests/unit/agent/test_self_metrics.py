"""The agent counts itself, without keeping itself busy by that."""

import time
from pathlib import Path

from tallystick.agent.report import Report
from tallystick.agent.self_metrics import SelfMetrics
from tallystick.backends.memory import MemoryBackend
from tallystick.codec import encode_line
from tallystick.pipelines.agents import spool_agent
from tallystick.queries import Query
from tallystick.spool import disk
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters, letter
from tallystick.spool.folder import Folder
from tallystick.spool.spool import Spool
from tallystick.testing import counters, make_batch


def test_what_was_delivered_is_recorded_as_counters(tmp_path: Path) -> None:
    folder = Folder(tmp_path).open()
    own, report = SelfMetrics(folder), Report(folder, "memory://", "process")
    report.wrote(120, 0.5)
    own.record(report)
    pending = account(folder).pending
    assert pending["tallystick_agent_delivered_records_total"] == 1
    assert pending["tallystick_agent_written_batches_total"] == 1
    assert pending["tallystick_agent_write_seconds_total"] == 1


def test_nothing_is_left_open_so_an_agent_delivers_and_removes_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path).open()
    own, report = SelfMetrics(folder, "web-1"), Report(folder, "memory://", "process")
    report.wrote(120, 0.5)
    own.record(report)
    (identity,) = folder.segment_ids()
    assert not disk.is_locked(folder.segment(identity))
    backend = MemoryBackend()
    assert spool_agent(folder, backend).run("empty")
    assert folder.segment_ids() == []
    assert {(one.host, one.app, one.tags["pipeline"]) for one in backend.records(Query())} == {
        ("web-1", "tallystick", "default")
    }


def test_delivering_only_its_own_metrics_records_no_more(tmp_path: Path) -> None:
    folder = Folder(tmp_path).open()
    own, report = SelfMetrics(folder), Report(folder, "memory://", "process")
    report.wrote(120, 0.5)
    own.record(report)
    before = account(folder).pending
    report.wrote(sum(before.values()), 0.1)
    own.record(report)
    assert account(folder).pending == before


def test_what_was_dropped_died_and_waits_is_recorded_too(tmp_path: Path) -> None:
    folder = Folder(tmp_path).open()
    own, report = SelfMetrics(folder), Report(folder, "memory://", "process")
    own(report)
    full = Spool(folder, limit_bytes=200_000, segment_bytes=65_536)
    waiting = 0
    while full.append(encode_line(time.time_ns(), "counter", "waits", 1, {}), "waits"):
        waiting += 1
    full.close()
    DeadLetters(folder).add([letter(make_batch(*counters(1)).header, 100, b"line", "bad")])
    own.record(report)
    backend = MemoryBackend()
    assert spool_agent(folder, backend).run("empty")
    told = {one.name: float(str(one.value)) for one in backend.records(Query()) if one.app == "tallystick"}
    assert told["tallystick_dropped_records_total"] == 1
    assert told["tallystick_pending_records"] == waiting
    assert told["tallystick_dead_records"] == 1
    assert told["tallystick_oldest_pending_seconds"] > 0
