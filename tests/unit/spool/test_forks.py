"""Processes that forked without Python knowing, signal handlers in the midst of a call, and writers that died."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.spool.conftest import line

from tallystick.recorder.metrics import Metrics
from tallystick.spool.folder import Folder
from tallystick.spool.making import Maker
from tallystick.spool.segment import Segment
from tallystick.spool.spool import Spool

MakeSpool = Callable[..., Spool]


def values(folder: Folder) -> dict[int, Counter[str]]:
    """By the process whose segment it is. All of a segment's file must be readable."""
    found: dict[int, Counter[str]] = {}
    for identity in folder.segment_ids():
        header, *lines = folder.segment(identity).read_bytes().rstrip(b"\0").splitlines()
        found.setdefault(json.loads(header)["pid"], Counter()).update(json.loads(one)[2] for one in lines)
    return found


RAW_FORK = """
import ctypes, os, sys
from tallystick import Metrics
metrics = Metrics(home=sys.argv[1], deliver="off")
counter = metrics.counter("handle")
metrics.increment("n"); counter.inc()
fork = ctypes.PyDLL(None).fork
children = []
for _ in range(3):
    child = fork()
    if child == 0:
        for _ in range(200):
            metrics.increment("n"); counter.inc()
        metrics.timing("t", 1.0)
        metrics.close()
        os._exit(0)
    children.append(child)
idle = fork()
if idle == 0:
    metrics.close()
    os._exit(0)
for _ in range(199):
    metrics.increment("n"); counter.inc()
assert all(os.waitpid(child, 0)[1] == 0 for child in [*children, idle])
metrics.increment("n"); counter.inc()
print(os.getpid(), *children)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks by glibc")
def test_processes_forked_in_c_without_a_hook_of_pythons_write_over_nothing_of_each_other(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RAW_FORK, str(home)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    parent, *children = map(int, done.stdout.split())
    found = values(Folder(home))
    assert found.pop(parent) == Counter(n=201, handle=201)
    assert found == {child: Counter(n=200, handle=200, t=1) for child in children}


def test_where_no_page_can_be_wiped_the_process_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from tallystick import forks

    asked = forks._Asked()
    asked[0] = 1
    assert asked[0]
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert not asked[0]


def test_a_signal_handler_that_records_while_a_segment_is_made_makes_none_itself(
    folder: Folder, make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its line waits for the call that it interrupted. Handlers nested 101 deep, each with a segment of its own."""
    real, made, kept = Segment.__init__, [], []

    def making(segment: Segment, *args: object, **kwargs: object) -> None:
        made.append(segment)
        for _ in range(10):
            signal.raise_signal(signal.SIGUSR1)
        real(segment, *args, **kwargs)  # type: ignore[arg-type]

    spool = make_spool()
    previous = signal.signal(signal.SIGUSR1, lambda *_: kept.append(spool.append(line(1, "handler"), "handler")))
    monkeypatch.setattr(Segment, "__init__", making)
    try:
        assert spool.append(line(1, "call"), "call")
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert len(made) == 1
    assert kept == [True] * 10
    assert values(folder) == {os.getpid(): Counter(handler=10, call=1)}


def test_a_time_limit_that_ends_the_making_of_a_segment_loses_no_line_of_a_handler(
    folder: Folder, make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TooLate(Exception):
        pass

    real = Maker.make

    def making(maker: Maker, **kwargs: bool) -> Segment | None:
        monkeypatch.setattr(Maker, "make", real)
        assert spool.append(line(1, "handler"), "handler")
        raise TooLate

    spool = make_spool()
    monkeypatch.setattr(Maker, "make", making)
    with pytest.raises(TooLate):
        spool.append(line(1, "call"), "call")
    assert values(folder) == {os.getpid(): Counter(handler=1)}


def test_a_dead_writers_segment_is_cut_to_its_lines_by_who_makes_the_next(folder: Folder) -> None:
    """Sixty short processes that end by `os._exit` leave their lines, and not 240 MiB."""
    with Metrics(home=folder.home, deliver="off") as metrics:
        metrics.increment("parent")
        for _ in range(20):
            if (child := os.fork()) == 0:
                metrics.increment("child")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        if (child := os.fork()) == 0:
            metrics.increment("child")
            os._exit(0)
        os.waitpid(child, 0)
        assert folder.size_bytes() <= 2 * (4 << 20) + 20 * 4096  # the parent's, and the last child's
    assert sum(values(folder).values(), Counter()) == Counter(parent=1, child=21)


def test_a_full_spool_of_dead_writers_has_room_again_once_they_are_cut(folder: Folder, make_spool: MakeSpool) -> None:
    for name in "abcdef":
        path = folder.segment(name)
        path.write_bytes(line(1) + b"[torn" + bytes(65_536 - len(line(1)) - 5))
    spool = make_spool(segment_bytes=65_536, limit_bytes=131_072)
    assert spool.append(line(2), "n")
    assert [folder.segment(name).read_bytes() for name in "abcdef"] == [line(1)] * 6


def test_a_living_writers_segment_is_never_cut(folder: Folder, make_spool: MakeSpool) -> None:
    first, second = make_spool(segment_bytes=65_536), make_spool(segment_bytes=65_536)
    assert first.append(line(1), "n")
    assert second.append(line(2), "n")
    assert folder.size_bytes() == 2 * 65_536
    assert first.append(line(3), "n")


@pytest.mark.parametrize("room", [True, False], ids=["room", "full"])
def test_the_first_attempt_to_record_stands_for_election_whether_or_not_there_is_room(
    folder: Folder, make_spool: MakeSpool, room: bool
) -> None:
    asked: list[int] = []
    spool = make_spool(limit_bytes=8_000 if room else 100, on_open=lambda: asked.append(1))
    assert asked == []
    assert spool.append(line(1), "n") is room
    assert spool.append(line(2), "n") is room
    assert asked == [1]


def test_every_reason_for_a_drop_is_logged_once_in_ten_seconds(
    make_spool: MakeSpool, caplog: pytest.LogCaptureFixture
) -> None:
    spool = make_spool(limit_bytes=100)
    for _ in range(3):
        spool.append(line(1), "n")
        spool.append(b"x" * 2_000, "n")
    spool.close()
    spool.append(line(1), "n")
    said = [message.split(":")[0] for message in caplog.messages]
    assert said == [f"records are dropped, and counted as {why}" for why in ("spool_limit", "too_large", "closed")]


def test_the_page_that_tells_a_fork_is_wiped_by_the_kernel() -> None:
    from tallystick import forks

    if isinstance(forks.here, forks._Asked) or sys.platform != "linux":
        pytest.skip("the kernel wipes no page")
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        os._exit(forks.here[0])
    assert os.waitpid(child, 0)[1] == 0
    assert forks.here[0] == 1
