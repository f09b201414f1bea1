"""Whatever keeps a segment from being made, the record is counted as dropped, and the reason is the true one."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.acceptance.stage import until
from tests.unit.spool.conftest import line

from tallystick.recorder.metrics import Metrics
from tallystick.spool.folder import Folder
from tallystick.spool.spool import Spool

MakeSpool = Callable[..., Spool]


def a_folder(folder: Folder) -> None:
    folder.reserve.mkdir()


def a_dangling_link(folder: Folder) -> None:
    folder.reserve.symlink_to("nowhere/at/all")


def a_loop(folder: Folder) -> None:
    folder.reserve.symlink_to(folder.reserve)


@pytest.mark.parametrize("obstacle", [a_folder, a_dangling_link, a_loop])
def test_a_reserve_that_cannot_be_made_drops_no_record(
    folder: Folder, make_spool: MakeSpool, obstacle: Callable[[Folder], None]
) -> None:
    obstacle(folder)
    spool = make_spool()
    assert spool.append(line(1), "n")
    assert not spool.tally.counts


def test_a_looping_link_among_the_segments_is_no_hindrance(folder: Folder, make_spool: MakeSpool) -> None:
    loop = folder.segments / "0000000000000000deadbeef.jsonl"
    loop.symlink_to(loop)
    spool = make_spool()
    assert spool.append(line(1), "n")


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 20, hard))
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


def test_without_a_descriptor_left_records_are_counted_as_dropped_and_not_refused(folder: Folder) -> None:
    with Metrics(home=folder.home, deliver="off") as metrics:
        with no_descriptor_left():
            for _ in range(3):
                metrics.increment("n")
            metrics.gauge("n", float("nan"))
        assert metrics.dropped == {("spool_error", "n"): 3}
        assert metrics.refused == {("nan", "n"): 1}

        def recorded() -> bool:
            metrics.increment("n")
            return bool(folder.segment_ids())

        assert until(recorded), "descriptors are there again"
