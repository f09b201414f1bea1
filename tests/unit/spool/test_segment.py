"""A segment as its writer sees it."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.unit.spool.conftest import line

from tallystick.codec import FORMAT, decode_header
from tallystick.records import Header
from tallystick.spool import disk
from tallystick.spool.segment import Segment


@pytest.fixture(params=["mapped", "not mapped"])
def segment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Also on a file system that cannot map files."""
    if request.param == "not mapped":

        def refuse(*_: object, **__: object) -> mmap.mmap:
            raise OSError("no such operation")

        monkeypatch.setattr(mmap, "mmap", refuse)
    segment = Segment(tmp_path / "a.jsonl", Header(FORMAT, "a"), 4096)
    yield segment
    segment.seal()


def test_a_segment_appears_locked_and_with_its_header(segment: Segment) -> None:
    assert disk.is_locked(segment.path)
    assert decode_header(segment.path.read_bytes().partition(b"\n")[0]).segment == "a"
    assert not segment.path.with_suffix(".new").exists()


def test_a_line_is_in_the_file_when_write_returns(segment: Segment) -> None:
    for value in range(10):
        segment.write(line(value))
        assert segment.path.read_bytes().rstrip(b"\0").endswith(line(value))


def test_a_line_without_room_is_not_written_at_all(segment: Segment) -> None:
    written: list[bytes] = []
    while segment.position + len(line(len(written))) <= 4096:
        segment.write(line(len(written)))
        written.append(line(len(written)))
    with pytest.raises(ValueError, match=r"."):
        segment.write(line(len(written)))
    segment.seal()
    assert segment.path.read_bytes().partition(b"\n")[2] == b"".join(written)


def test_a_smaller_line_may_still_fit_after_a_larger_did_not(segment: Segment) -> None:
    with pytest.raises(ValueError, match=r"."):
        segment.write(b"x" * 5000 + b"\n")
    segment.write(line(1))
    segment.seal()
    assert segment.path.read_bytes().endswith(line(1))


def test_a_sealed_segment_ends_with_its_last_line_takes_no_more_and_is_free(segment: Segment) -> None:
    segment.write(line(1))
    position = segment.position
    segment.seal()
    assert segment.path.stat().st_size == segment.position == position
    with pytest.raises(ValueError, match=r"."):
        segment.write(line(2))
    assert not disk.is_locked(segment.path)
    segment.seal()
    assert segment.path.read_bytes().endswith(line(1))


def test_lines_of_threads_are_whole_also_while_it_is_sealed(segment: Segment) -> None:
    written: list[bytes] = []

    def work(number: int) -> None:
        try:
            for value in range(10_000):
                text = line(value, f"thread-{number}" * (value % 5 + 1))
                segment.write(text)
                written.append(text)
        except ValueError:
            return

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    segment.seal()
    assert sorted(segment.path.read_bytes().split(b"\n")[1:-1]) == sorted(text[:-1] for text in written)


def test_an_abandoned_segment_keeps_its_lines_and_loses_its_lock(segment: Segment) -> None:
    segment.write(line(1))
    segment.abandon()
    assert line(1) in segment.path.read_bytes()
    assert not disk.is_locked(segment.path)


def test_blocks_are_there_before_anything_is_written(tmp_path: Path) -> None:
    segment = Segment(tmp_path / "a.jsonl", Header(FORMAT, "a"), 1 << 20)
    assert segment.path.stat().st_blocks * 512 >= 1 << 20
    segment.seal()


def test_a_segment_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, size_bytes: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "allocate", full)
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    with pytest.raises(OSError, match="No space"):
        Segment(tmp_path / "a.jsonl", Header(FORMAT, "a"), 4096)
    assert list(tmp_path.glob("a.*")) == []
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_a_file_system_that_cannot_reserve_blocks_gets_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(fd: int, offset: int, length: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    segment = Segment(tmp_path / "a.jsonl", Header(FORMAT, "a"), 200_000)
    assert segment.path.stat().st_size == 200_000
    assert segment.path.stat().st_blocks * 512 >= 200_000
    segment.write(line(1))
    segment.seal()
    assert segment.path.read_bytes().endswith(line(1))
