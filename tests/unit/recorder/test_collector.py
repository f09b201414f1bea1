"""A unit of work: what it collects, and that all of it is recorded or none."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from tallystick import Metrics, Query, RecordError, current_collector
from tallystick.backends.memory import MemoryBackend
from tallystick.codec import Extra, Reader, encode_header, encode_line
from tallystick.records import Header, Record
from tallystick.spool.folder import Folder
from tallystick.spool.reader import SegmentReader


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def metrics(backend: MemoryBackend) -> Metrics:
    return Metrics(backend)


def rows(backend: MemoryBackend) -> dict[str, Record]:
    return {record.name: record for record in backend.records(Query())}


def test_counts_add_up_and_the_rest_is_replaced(metrics: Metrics, backend: MemoryBackend) -> None:
    with metrics.collect(tags={"route": "/"}, metadata={"order": 1}) as work:
        work.count("items", 3, metadata={"a": 1})
        work.count("items", 2, metadata={})
        work.timer("db", timedelta(seconds=2))
        work.timer("db", 12, unit="ms")
        work.gauge("basket", 1)
        work.gauge("basket", 99.5)
        work.tag("user", "guest")
        assert rows(backend) == {}
    found = rows(backend)
    assert {name: record.value for name, record in found.items()} == {"items": 5, "db": 12, "basket": 99.5}
    assert {tuple(record.tags.items()) for record in found.values()} == {(("route", "/"), ("user", "guest"))}
    assert found["items"].metadata == {"order": 1, "a": 1}
    assert found["db"].unit == "ms"


def test_a_counter_keeps_the_time_of_its_first_count(metrics: Metrics, backend: MemoryBackend) -> None:
    with metrics.collect() as work:
        work.count("first", timestamp=1_000_000_000)
        work.count("first", timestamp=1_000_000_100)
        work.count("last", timestamp=1_000_000_000)
        work.count("last", timestamp=1_000_000_100, replace_timestamp=True)
    found = rows(backend)
    assert found["first"].timestamp_ns == 1_000_000_000 * 10**9
    assert found["last"].timestamp_ns == 1_000_000_100 * 10**9


def test_current_collector_reaches_the_unit_around_and_ignores_without_one(
    metrics: Metrics, backend: MemoryBackend
) -> None:
    current_collector().count("lost")
    with metrics.collect():
        current_collector().count("deep")
        with metrics.collect() as inner:
            assert current_collector() is inner
    assert rows(backend).keys() == {"deep"}
    current_collector().count("lost")
    assert rows(backend).keys() == {"deep"}


def test_nested_units_are_independent_unless_they_inherit(metrics: Metrics, backend: MemoryBackend) -> None:
    with metrics.collect(tags={"route": "/"}):
        with metrics.collect() as alone:
            alone.count("alone")
        with metrics.collect(inherit=True) as child:
            child.count("child")
    assert (rows(backend)["alone"].tags, rows(backend)["child"].tags) == ({}, {"route": "/"})


def test_each_task_has_its_own_unit(metrics: Metrics, backend: MemoryBackend) -> None:
    @metrics.collect()
    async def request(number: int) -> None:
        current_collector().tag("number", number)
        await asyncio.sleep(0)
        current_collector().count(f"request.{number}")

    async def serve() -> None:
        await asyncio.gather(*(request(number) for number in range(20)))

    asyncio.run(serve())
    assert {name: record.tags["number"] for name, record in rows(backend).items()} == {
        f"request.{number}": str(number) for number in range(20)
    }


def test_threads_count_into_one_unit_and_lose_none(metrics: Metrics, backend: MemoryBackend) -> None:
    with metrics.collect() as work:
        threads = [
            threading.Thread(target=lambda: [work.count("hits") for _ in range(500)])  # type: ignore[func-returns-value]
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert rows(backend)["hits"].value == 4_000


def test_an_exception_passes_and_stands_in_a_tag(metrics: Metrics, backend: MemoryBackend) -> None:
    def fail(name: str) -> None:
        current_collector().count(name)
        _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        metrics.collect()(fail)("asked")
    assert rows(backend)["asked"].tags == {"error": "ZeroDivisionError"}
    with pytest.raises(ZeroDivisionError):
        metrics.collect(on_error="drop")(fail)("dropped")
    assert "dropped" not in rows(backend)


def test_what_is_wrong_is_refused_at_its_call_and_the_rest_is_recorded(
    metrics: Metrics, backend: MemoryBackend
) -> None:
    with metrics.collect() as work:
        work.gauge("bad", float("nan"))
        work.count("good")
    work.count("late")
    assert rows(backend).keys() == {"good"}
    assert set(metrics.refused) == {("nan", "bad"), ("closed", "late")}
    with pytest.raises(RecordError, match="value"), Metrics(backend, strict=True).collect() as work:
        work.gauge("bad", float("nan"))


def test_a_unit_that_nobody_ends_is_counted_and_logged(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    def forget() -> None:
        metrics.collect().__enter__().count("forgotten")

    contextvars.copy_context().run(forget)
    gc.collect()
    assert metrics.dropped == {("unclosed", "forgotten"): 1}
    assert "never ended" in caplog.text


# --- all or none ---


def unit_lines(count: int) -> list[bytes]:
    return [
        encode_line(
            1_700_000_000_000_000_000, "counter", f"n{index}", index, {}, Extra(together=count if not index else 0)
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("whole", range(6))
def test_of_a_unit_that_a_dead_writer_copied_in_part_nothing_is_read(tmp_path: Path, whole: int) -> None:
    folder = Folder(tmp_path).open()
    before = encode_line(1_700_000_000_000_000_000, "counter", "before", 1, {})
    lines = unit_lines(5)
    head = encode_header(Header(1, "0198"))
    folder.segment("0198").write_bytes(head + before + b"".join(lines[:whole]) + b"[17000" + b"\0" * 100)
    reader = SegmentReader(folder.segment("0198"))
    assert reader.own()
    names = []
    while raw := reader.lines(3):
        names += Reader(Header(1, "0198")).batch(raw, reader.position)[0].names
        reader.position += len(raw)
    assert reader.finished
    assert names == (["before", *(f"n{index}" for index in range(5))] if whole == 5 else ["before"])
    reader.close()


def test_a_unit_larger_than_one_read_is_given_out_whole(tmp_path: Path) -> None:
    folder = Folder(tmp_path).open()
    head = encode_header(Header(1, "0198"))
    folder.segment("0198").write_bytes(head + b"".join(unit_lines(5_000)))
    reader = SegmentReader(folder.segment("0198"))
    assert reader.own()
    count = 0
    while raw := reader.lines(7):
        count += raw.count(b"\n")
        reader.position += len(raw)
    assert count == 5_000
    reader.close()


def test_kill_9_leaves_whole_units_only(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        metrics = Metrics(home=tmp_path, pipeline="p", deliver="off")
        while True:
            with metrics.collect() as work:
                for index in range(10):
                    work.count(f"n{index}")
    folder = Folder(tmp_path, "p")
    while not folder.segment_ids() or folder.segment(folder.segment_ids()[0]).read_bytes().count(b"\n") < 100:
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    counts: dict[str, int] = {}
    for identity in folder.segment_ids():
        reader = SegmentReader(folder.segment(identity))
        assert reader.own()
        while raw := reader.lines(1_000):
            for name in reader.codec.batch(raw, reader.position)[0].names:
                counts[name] = counts.get(name, 0) + 1
            reader.position += len(raw)
        reader.close()
    assert len(counts) == 10
    assert len(set(counts.values())) == 1
