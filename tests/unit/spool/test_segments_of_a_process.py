"""Whose a segment is, when the next one is made, and who else can read it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acceptance.stage import until
from tests.unit.spool.conftest import deliver_all, line, write_segment

from tallystick.codec import FORMAT, encode_header
from tallystick.recorder.metrics import Metrics
from tallystick.records import Header
from tallystick.settings import Settings, table
from tallystick.spool.disk import LockFile
from tallystick.spool.folder import Folder, new_segment_id
from tallystick.spool.making import Maker
from tallystick.spool.segment import Segment
from tallystick.spool.source import SpoolSource
from tallystick.spool.spool import Spool

Make = Callable[..., Spool]


def tenders() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "tallystick-spool"}


def fill(spool: Spool) -> None:
    """Until the segment in use is another one."""
    before = spool._segment
    while spool._segment is before:
        assert spool.append(line(1), "n")


def test_a_process_takes_one_segment_and_two_once_its_first_is_full_as_the_settings_say(
    folder: Folder, make_spool: Make
) -> None:
    def taken() -> int:
        return sum(path.stat().st_size == 4096 for path in folder.segments.iterdir() if path.suffix == ".jsonl")

    spool = make_spool()
    assert spool.append(line(1), "n")
    assert taken() == 1
    fill(spool)
    assert until(lambda: spool._tender.ready and not spool._tender.old)
    assert taken() == 2
    said = table()["spool_limit_bytes"].sentence
    assert (
        "takes one segment of it (segment_bytes, 4 MiB unless it is set), and two once it has filled its first" in said
    )
    assert Settings().segment_bytes == 4 << 20


def test_the_next_segment_is_ready_before_the_one_in_use_is_full(
    make_spool: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the second rotation on, whoever records makes no segment: another thread has done it."""
    made_by: list[str] = []
    make = Maker.make

    def noting(maker: Maker, **how: bool) -> Segment | None:
        made_by.append(threading.current_thread().name)
        return make(maker, **how)

    monkeypatch.setattr(Maker, "make", noting)
    spool = make_spool(segment_bytes=65_536)
    assert spool.append(line(0), "n")
    fill(spool)
    me = threading.current_thread().name
    assert made_by[:2] == [me, me]
    for _ in range(5):
        deadline = time.monotonic() + 30
        while not spool._tender.ready and time.monotonic() < deadline:
            time.sleep(0.001)
        (ready,) = spool._tender.ready
        assert ready.path.exists()
        fill(spool)
        assert spool._segment is ready
    assert set(made_by[2:]) == {"tallystick-spool"}


def test_a_closed_spool_that_nobody_holds_is_really_gone(folder: Folder) -> None:
    """Also when it has rotated and a process may still fork: neither its thread nor the fork hook keeps it."""
    before = tenders()  # one of an earlier test may still be about to end
    spool = Spool(folder, segment_bytes=4096)
    assert spool.append(line(0), "n")
    fill(spool)
    assert until(lambda: tenders() - before)
    (thread,) = tenders() - before
    spool.close()
    thread.join(30)
    gone = weakref.ref(spool)
    del spool
    gc.collect()
    assert gone() is None


def test_a_forked_child_writes_into_a_segment_of_its_own(make_spool: Make, folder: Folder) -> None:
    spool = make_spool()
    assert spool.append(line("parent"), "n")
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if spool.append(line("child"), "n") else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert spool.append(line("parent"), "n")
    values = {}
    for identity in folder.segment_ids():
        header, *lines = folder.segment(identity).read_bytes().rstrip(b"\0").splitlines()
        values[json.loads(header)["pid"]] = [json.loads(one)[3] for one in lines]
    assert values == {os.getpid(): ["parent", "parent"], child: ["child"]}


def test_a_segment_belongs_to_who_holds_its_lock_whatever_process_id_it_names(
    folder: Folder, source: SpoolSource
) -> None:
    """A dead writer's process id may be another's by now (here: ours), and a living one's may be of another machine."""
    dead, living = new_segment_id(), new_segment_id()
    write_segment(folder, dead, line("dead"), header=encode_header(Header(FORMAT, dead, pid=os.getpid())))
    path = write_segment(folder, living, line("living"), header=encode_header(Header(FORMAT, living, pid=2**22 + 1)))
    lock = LockFile(path)
    assert lock.acquire()
    assert deliver_all(source) == ["dead", "living"]
    source.tidy()
    assert folder.segment_ids() == [living]
    lock.release()
    assert deliver_all(source) == []
    source.tidy()
    assert folder.segment_ids() == []


def test_whatever_reads_lines_of_json_reads_a_spool(home: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with Metrics(home=home, deliver="off", app="shop", tags={"env": "prod"}) as metrics:
        metrics.increment("user.signup", tags={"plan": "pro"})
        metrics.timing("search.time", 0.25, metadata={"user": "größe"})
    folder = Folder(home)
    path = folder.segment(folder.segment_ids()[0])

    header, *records = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    assert (header["app"], header["tags"]) == ("shop", {"env": "prod"})
    assert [record[1:] for record in records] == [
        ["counter", "user.signup", 1, {"plan": "pro"}],
        ["timing", "search.time", 0.25, {}, {"metadata": {"user": "größe"}}],
    ]
    tail = subprocess.run(["tail", "-n", "1", str(path)], capture_output=True, check=True)
    assert json.loads(tail.stdout) == records[1]
    found = duckdb.execute("SELECT json->>'$[2]', json->>'$[3]' FROM read_ndjson_objects(?) OFFSET 1", [str(path)])
    assert found.fetchall() == [("user.signup", "1"), ("search.time", "0.25")]
