"""A signal handler forks while a call makes a segment, and its child goes on in the middle of that call."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from tests.acceptance.stage import until
from tests.unit.spool.conftest import line

from tallystick.agent.agent import Agent
from tallystick.pipelines.route import SpoolRoute
from tallystick.recorder.metrics import Metrics
from tallystick.spool import disk, making, tally
from tallystick.spool.folder import Folder
from tallystick.spool.forks import inherited
from tallystick.spool.making import Maker
from tallystick.spool.segment import Segment
from tallystick.spool.spool import Spool

MakeSpool = Callable[..., Spool]


@contextmanager
def forking() -> Iterator[list[int]]:
    """The children of the handler, which return from it."""
    parent, children = os.getpid(), list[int]()

    def fork(*_: object) -> None:
        if os.getpid() == parent and (child := os.fork()):
            children.append(child)

    before = signal.signal(signal.SIGVTALRM, fork)
    try:
        yield children
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def values(folder: Folder) -> dict[int, Counter[str]]:
    """By the process whose segment it is. All of a segment's file must be readable."""
    found: dict[int, Counter[str]] = {}
    for identity in folder.segment_ids():
        header, *lines = folder.segment(identity).read_bytes().rstrip(b"\0").splitlines()
        found.setdefault(json.loads(header)["pid"], Counter()).update(json.loads(one)[3] for one in lines)
    return found


STEPS = [
    (making, "new_segment_id"),
    (Folder, "size_bytes"),
    (Folder, "keep_reserve"),
    (disk, "try_lock"),
    (disk, "allocate"),
    (Segment, "_writer"),
    (Maker, "make"),
    (Spool, "_take_ready"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
@pytest.mark.parametrize("rotates", [False, True], ids=["first", "rotation"])
def test_parent_and_child_each_keep_all_their_records(
    folder: Folder,
    make_spool: MakeSpool,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    step: str,
    after: bool,
    rotates: bool,
) -> None:
    real, struck = getattr(owner, step), list[int]()

    def stricken(*args: object, **kwargs: object) -> object:
        strikes = not struck and (not rotates or spool._segment is not None)
        if strikes:
            struck.append(1)
        if strikes and not after:
            signal.raise_signal(signal.SIGVTALRM)
        result = real(*args, **kwargs)
        if strikes and after:
            signal.raise_signal(signal.SIGVTALRM)
        return result

    parent = os.getpid()
    spool = make_spool()
    monkeypatch.setattr(spool, "_wake_tender", lambda: None)  # all is made by calls
    monkeypatch.setattr(owner, step, stricken)
    with forking() as children:
        recorded, kept = 0, False
        while not children and os.getpid() == parent:
            assert recorded < 1000
            recorded += 1
            kept = spool.append(line(f"parent {recorded}"), "n")
        if os.getpid() != parent:
            done = all([kept, *(spool.append(line(f"child {number}"), "n") for number in range(150))])
            os._exit(0 if done and not spool.tally.counts else 1)
        assert os.waitpid(children[0], 0)[1] == 0
        for _ in range(150):
            recorded += 1
            assert spool.append(line(f"parent {recorded}"), "n")
    spool.close()
    found = values(folder)
    assert set(found) == {parent, children[0]}
    assert found[parent] == Counter(f"parent {number}" for number in range(1, recorded + 1))
    common = found[children[0]].keys() - {f"child {number}" for number in range(150)}
    assert common <= {f"parent {recorded - 150}"}  # the call that was interrupted is one of both
    assert found[children[0]].total() == 150 + len(common)


@pytest.mark.parametrize(("owner", "step", "makes"), [(os, "open", 0), (disk, "rename", 1)], ids=["open", "rename"])
def test_a_child_that_is_quicker_to_make_a_file_takes_nothing_from_its_parent(
    folder: Folder, make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch, owner: object, step: str, makes: int
) -> None:
    real, struck, parent = getattr(owner, step), list[int](), os.getpid()

    def stricken(*args: Any, **kwargs: Any) -> object:
        if not struck and str(args[0]).endswith(".new"):
            struck.append(1)
            signal.raise_signal(signal.SIGVTALRM)
            if os.getpid() == parent:
                assert until(Path(args[makes]).exists)
        return real(*args, **kwargs)

    spool = make_spool()
    monkeypatch.setattr(owner, step, stricken)
    with forking() as children:
        kept = spool.append(line("common"), "n")
        own = "parent" if os.getpid() == parent else "child"
        kept = spool.append(line(own), "n") and kept
        if os.getpid() != parent:
            os._exit(0 if kept and not spool.tally.counts else 1)
        assert os.waitpid(children[0], 0)[1] == 0
    assert kept
    assert not spool.tally.counts
    assert values(folder) == {one: {"common": 1, who: 1} for one, who in ((parent, "parent"), (children[0], "child"))}


AROUND_THREADS: list[Any] = [
    threading.Thread.start, threading.Event.wait, threading.Condition.wait, threading.Thread.join,
    Spool._wake_tender, Spool.close, Spool._seal_old, Segment.seal, SpoolRoute._start, SpoolRoute.close, Agent.start,
    Agent.stop,
]  # fmt: skip


@contextmanager
def fork_at_line(number: int) -> Iterator[list[int]]:
    """The child of a fork at this line, counting those that are run in `AROUND_THREADS` by this thread."""
    codes, lines, children = {one.__code__ for one in AROUND_THREADS}, itertools.count(1), list[int]()

    def strike(frame: FrameType, event: str, argument: object) -> Any:
        if event == "line" and next(lines) == number:
            children.append(os.fork())
            if not children[0]:
                sys.settrace(None)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(20)
        return strike

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: strike if frame.f_code in codes else None)
    try:
        yield children
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("deliver", ["off", "thread"])
def test_a_handlers_child_that_goes_on_where_a_thread_is_started_or_ended_ends_well(
    home: Path, deliver: str, thorough: bool
) -> None:
    """No thread is there that its parent was starting or waiting for: the child must not wait for it."""
    for number in itertools.count(1, 1 if thorough else 3):
        with fork_at_line(number) as children:
            try:
                metrics = Metrics(home=home, deliver=deliver, segment_bytes=65_536, exit_timeout_seconds=0.5)
                for _ in range(70):
                    metrics.event("n", "x" * 900)
                metrics.close()
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                if children and not children[0]:
                    os._exit(1 if sys.exc_info()[0] else 0)
        if not children:
            break
        assert os.waitpid(children[0], 0)[1] == 0, f"forked at line {number}"


@pytest.mark.parametrize("step", ["try_lock", "allocate", "rename"])
def test_a_childs_counts_do_not_touch_its_parents(folder: Folder, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    real, struck = getattr(disk, step), list[int]()

    def stricken(*args: object, **kwargs: object) -> object:
        if not struck:
            struck.append(1)
            signal.raise_signal(signal.SIGVTALRM)
        return real(*args, **kwargs)

    class Owner:
        """As a spool is: its child's counts go elsewhere."""

        def forget_parent(self) -> None:
            counts.forget()

    monkeypatch.setattr(disk, step, stricken)
    parent, counts, owner = os.getpid(), tally.Tally(folder.tally("a")), Owner()
    inherited(owner)
    with forking() as children:
        counts.add("refused", "nan", "n")
        if os.getpid() != parent:
            counts.add("refused", "nan", "child")  # as what the call that was interrupted still does
            os._exit(0)
        assert os.waitpid(children[0], 0)[1] == 0
        counts.add("refused", "nan", "n")
    counts.close()
    assert tally.read(folder.tally("a")) == {("refused", "nan", "n"): 2}
    assert not any(disk.is_locked(path) for path in folder.segments.iterdir())


def test_forks_of_a_handler_at_any_moment_lose_nothing(folder: Folder, thorough: bool) -> None:
    """Children return from the handler, record some more and end; the parent records on."""
    parent, chance, forks = os.getpid(), random.Random(7), 300 if thorough else 40
    long = {"pad": "x" * 900}
    with Metrics(home=folder.home, deliver="off", segment_bytes=65_536) as metrics, forking() as children:
        number = 0
        while len(children) < forks:
            if signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001 + 0.001 * chance.random())
            number += 1
            metrics.event("n", f"parent {number}", tags=long)
            if os.getpid() != parent:
                for own in range(60):
                    metrics.event("n", f"child {own}", tags=long)
                os._exit(1 if metrics.dropped or metrics.refused else 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        assert not [child for child in children if os.waitpid(child, 0)[1]]
        assert not metrics.dropped
        assert not metrics.refused
    found = values(folder)
    assert found.pop(parent) == Counter(f"parent {one}" for one in range(1, number + 1))
    assert set(found) == set(children)
    for records in found.values():
        assert all(records[f"child {own}"] == 1 for own in range(60))
        assert records.total() <= 61
