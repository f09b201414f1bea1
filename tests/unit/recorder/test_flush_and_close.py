"""Waiting until all is settled, and leaving."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acceptance.stage import until

from tallystick import plugins
from tallystick.backends.base import WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.backends.sqlite import SqliteBackend
from tallystick.errors import Unavailable
from tallystick.queries import Query
from tallystick.recorder.metrics import Metrics
from tallystick.records import Batch
from tallystick.spool.account import account
from tallystick.spool.folder import Folder


class Gated(MemoryBackend):
    """Not inline, takes nothing before its gate is open, and rejects what is named `bad`."""

    inline = False

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.written = 0

    def write(self, batch: Batch) -> WriteResult:
        if not self.gate.is_set():
            raise Unavailable("the gate is closed", retry_after_seconds=0.001)
        bad = {index: "it is bad" for index, record in enumerate(batch.records) if record.name == "bad"}
        self.written += len(batch) - len(bad)
        return WriteResult(bad)


def test_flush_says_true_when_all_is_settled_and_not_before(home: Path) -> None:
    backend = Gated()
    with Metrics(backend, home=home, pipeline="gated", segment_bytes=65_536) as metrics:
        for number in range(3_000):  # several segments
            metrics.increment("good", number)
        metrics.increment("bad")
        began = time.monotonic()
        assert metrics.flush(timeout_seconds=0.2) is False
        assert 0.2 <= time.monotonic() - began < 5
        assert backend.written == 0
        backend.gate.set()
        assert metrics.flush(timeout_seconds=60) is True
        assert backend.written == 3_000
        books = account(Folder(home, "gated"))
        assert (books.pending.total(), books.dead) == (0, {"bad": 1})


def test_flush_with_nothing_recorded_is_true_at_once(home: Path) -> None:
    with Metrics(Gated(), home=home, pipeline="gated") as metrics:
        assert metrics.flush(timeout_seconds=0) is True


def test_leaving_the_block_delivers_what_was_recorded(home: Path) -> None:
    with Metrics(home=home, exit_timeout_seconds=60) as metrics:
        for number in range(300):
            metrics.increment("n", number)
    assert len(list(SqliteBackend(Folder(home).database).records(Query("n")))) == 300


def test_what_is_recorded_after_close_is_counted_and_closing_again_is_harmless(home: Path) -> None:
    metrics = Metrics(home=home, deliver="off")
    child, handle = metrics.bind(tags={"plan": "pro"}), metrics.counter("handle")
    calls: list[Callable[[], None]] = [
        lambda: metrics.increment("short"),
        lambda: metrics.event("long", "way"),
        lambda: child.increment("child"),
        handle.inc,
    ]
    for call in calls:
        call()
    metrics.close()
    for call in calls:
        call()
    metrics.close()
    assert metrics.dropped == {("closed", name): 1 for name in ("short", "long", "child", "handle")}


def test_records_are_forced_to_the_disk_about_once_a_second_without_being_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fsync` is `interval` by default; `never` means it."""
    synced: dict[Path, threading.Event] = {}
    monkeypatch.setattr(
        "tallystick.spool.disk.sync_file", lambda path: synced.setdefault(path, threading.Event()).set()
    )

    def segment(metrics: Metrics) -> threading.Event:
        metrics.increment("n")
        (found,) = metrics._spool.written()  # type: ignore[union-attr]
        return synced.setdefault(Folder(home, metrics.settings.pipeline).segment(found[0]), threading.Event())

    with Metrics(home=home, pipeline="asked", fsync="never") as never:
        other = segment(never)
        with Metrics(home=home) as metrics:
            mine = segment(metrics)
            assert mine.wait(30)
            mine.clear()
            began = time.monotonic()
            metrics.increment("n")
            assert mine.wait(30)
            assert time.monotonic() - began < 10
        assert not other.is_set()


def test_a_forked_child_leaves_a_connected_backend_to_its_parent(home: Path) -> None:
    """An object's connection belongs to the process that opened it: the child records, the parent delivers for it. When
    the parent is gone, the child's records wait for whoever comes next.
    """
    backend = Gated()
    backend.gate.set()
    parent_is_gone, say_so = os.pipe()
    with Metrics(backend, home=home, pipeline="gated") as metrics:
        metrics.increment("parent")
        assert metrics.flush(60)
        child = os.fork()
        if child == 0:
            try:
                os.close(say_so)
                backend.open = lambda: os._exit(3)  # type: ignore[method-assign]
                metrics.increment("child")
                if not metrics.flush(60):
                    os._exit(4)
                os.read(parent_is_gone, 1)
                metrics.increment("orphan")
                os._exit(5 if metrics.flush(2) else 0)
            except BaseException:
                os._exit(6)
        assert until(lambda: backend.written == 2)
    os.close(say_so)
    _, status = os.waitpid(child, 0)
    os.close(parent_is_gone)
    assert os.waitstatus_to_exitcode(status) == 0
    assert account(Folder(home, "gated")).pending == {"orphan": 1}


class OfOneProcess(MemoryBackend):
    """Writes down which process made it and which one uses it."""

    inline = False

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._made_by = os.getpid()

    @classmethod
    def from_url(cls, url: str) -> OfOneProcess:
        return cls(url.removeprefix("ofone://"))

    def write(self, batch: Batch) -> WriteResult:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(f"{self._made_by} {os.getpid()}\n")
        return WriteResult()


def test_a_forked_child_delivers_with_a_connection_of_its_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plugins.BACKENDS, "ofone", f"{__name__}:OfOneProcess")
    parent_is_gone, say_so = os.pipe()
    with Metrics(f"ofone://{tmp_path}/uses", home=home) as metrics:
        metrics.increment("parent")
        assert metrics.flush(60)
        child = os.fork()
        if child == 0:
            try:
                os.close(say_so)
                os.read(parent_is_gone, 1)
                metrics.increment("child")
                os._exit(0 if metrics.flush(60) else 4)
            except BaseException:
                os._exit(5)
    os.close(say_so)
    _, status = os.waitpid(child, 0)
    os.close(parent_is_gone)
    assert os.waitstatus_to_exitcode(status) == 0
    uses = [line.split() for line in (tmp_path / "uses").read_text().splitlines()]
    assert all(made_by == used_by for made_by, used_by in uses)
    assert {used_by for _, used_by in uses} == {str(os.getpid()), str(child)}
