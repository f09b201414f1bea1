"""The thread that makes and seals segments may wait for its disk as long as it must; calls go on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest
from tests.unit.spool.conftest import deliver_all, line

from tallystick.spool import disk
from tallystick.spool.folder import Folder
from tallystick.spool.segment import Segment
from tallystick.spool.source import SpoolSource
from tallystick.spool.spool import Spool

MakeSpool = Callable[..., Spool]


class Slow:
    """A step that, in the thread that makes segments, takes until `go_on` is set."""

    def __init__(self, step: Callable[..., None]) -> None:
        self.step = step
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *args: object, **kwargs: object) -> None:
        if threading.current_thread().name == "tallystick-spool":
            self.reached.set()
            assert self.go_on.wait(60)
        self.step(*args, **kwargs)


@pytest.fixture(params=["allocate", "rename", "seal"])
def slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Slow:
    if request.param == "seal":
        step = Slow(Segment.seal)

        def seal(segment: Segment, *, durable: bool = False) -> None:
            step(segment, durable=durable)

        monkeypatch.setattr(Segment, "seal", seal)
    else:
        step = Slow(getattr(disk, request.param))
        monkeypatch.setattr(disk, request.param, step)
    return step


def test_no_call_waits_for_who_makes_segments_and_order_is_kept(
    make_spool: MakeSpool, source: SpoolSource, slow: Slow
) -> None:
    spool = make_spool()
    values = iter(range(10_000))
    recorded = []

    def record(count: int) -> None:
        for _ in range(count):
            recorded.append(next(values))
            assert spool.append(line(recorded[-1]), "n")

    def record_on() -> None:
        record(300)  # over many segments, and none is made for it
        done.set()

    done = threading.Event()
    record(200)
    assert slow.reached.wait(30)
    threading.Thread(target=record_on, daemon=True).start()
    assert done.wait(30), "a call waits for the thread that makes segments"
    slow.go_on.set()
    record(500)
    spool.close()
    assert not any(disk.is_locked(path) for path in spool.folder.segments.iterdir())
    assert deliver_all(source) == recorded


@pytest.mark.parametrize("slow", ["allocate", "rename"], indirect=True)
def test_a_child_forked_while_a_segment_is_made_holds_none_of_its_parents_locks(
    folder: Folder, make_spool: MakeSpool, slow: Slow
) -> None:
    spool = make_spool()
    while not slow.reached.is_set():
        assert spool.append(line(1), "n")
        slow.reached.wait(0.01)
    begin, end = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begin[1], b".")
        os.read(end[0], 1)
        os._exit(0)
    try:
        assert os.read(begin[0], 1) == b"."
        slow.go_on.set()
        spool.close()
        assert not any(disk.is_locked(path) for path in folder.segments.iterdir())
    finally:
        os.write(end[1], b".")
        os.waitpid(child, 0)
        for fd in (*begin, *end):
            os.close(fd)
