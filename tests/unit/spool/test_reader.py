"""A segment as its reader sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.spool.conftest import line, write_segment

from tallystick.codec import FORMAT, encode_header
from tallystick.errors import SpoolTooNew
from tallystick.records import Header
from tallystick.spool.folder import Folder
from tallystick.spool.reader import SegmentReader
from tallystick.spool.segment import Segment
from tallystick.spool.spool import Spool

MakeSpool = Callable[..., Spool]


def all_lines(reader: SegmentReader, limit: int = 3) -> bytes:
    found = b""
    while raw := reader.lines(limit):
        found += raw
        reader.position += len(raw)
    return found


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_whole_lines_are_read_to_the_end_whatever_the_batch(folder: Folder, limit: int) -> None:
    written = [line(value, "n" * (value * 37 % 300 + 1)) for value in range(100)]
    reader = SegmentReader(write_segment(folder, "a", *written))
    assert reader.own()
    assert all_lines(reader, limit) == b"".join(written)
    assert reader.finished
    reader.close()


def test_a_batch_has_at_most_so_many_lines(folder: Folder) -> None:
    reader = SegmentReader(write_segment(folder, "a", *(line(value) for value in range(100))))
    reader.own()
    assert reader.lines(7).count(b"\n") == 7
    reader.close()


def test_a_line_longer_than_any_batch_is_read(folder: Folder) -> None:
    long = line("x" * 200_000)
    reader = SegmentReader(write_segment(folder, "a", line(1), long, line(2)))
    reader.own()
    assert all_lines(reader, 1) == line(1) + long + line(2)
    reader.close()


def test_a_living_writers_segment_is_read_as_far_as_it_is_written(tmp_path: Path) -> None:
    segment = Segment(tmp_path / "a.jsonl", Header(FORMAT, "a"), 4096)
    reader = SegmentReader(segment.path)
    assert not reader.own()
    assert reader.lines(10) == b""
    for value in range(3):
        segment.write(line(value))
        assert reader.lines(10) == line(value)
        reader.position += len(line(value))
    assert not reader.finished
    segment.seal()
    assert reader.own()
    assert reader.finished
    reader.close()


def test_a_line_that_is_still_being_copied_is_not_read(tmp_path: Path) -> None:
    segment = Segment(tmp_path / "a.jsonl", Header(FORMAT, "a"), 4096)
    reader = SegmentReader(segment.path)
    assert segment._map is not None
    segment.write(line(1))
    segment._map[segment.position + 10 : segment.position + 20] = b"9,9]\n[1,2]"  # the end came before the beginning
    assert reader.lines(10) == line(1)
    reader.close()
    segment.seal()


def test_what_follows_the_last_newline_of_a_dead_writer_is_no_record(folder: Folder) -> None:
    path = write_segment(folder, "a", line(1), line(2)[:-5], bytes(3000))
    reader = SegmentReader(path)
    reader.own()
    assert all_lines(reader) == line(1)
    assert reader.finished
    assert reader.damaged == []
    reader.close()


def test_a_preallocated_segment_of_any_size_ends_at_its_last_line(folder: Folder) -> None:
    for room in (0, 1, 65_535, 65_536, 65_537, 200_000):
        reader = SegmentReader(write_segment(folder, "a", line(1), bytes(room)))
        reader.own()
        assert all_lines(reader) == line(1)
        reader.close()


def test_reading_goes_on_where_it_was_told(folder: Folder) -> None:
    path = write_segment(folder, "a", line(1), line(2), line(3))
    first = SegmentReader(path)
    position = first.position + len(line(1))
    first.close()
    reader = SegmentReader(path, position)
    reader.own()
    assert all_lines(reader) == line(2) + line(3)
    reader.close()


@pytest.mark.parametrize("position", [-5, 0, 1])
def test_a_position_before_the_first_record_is_the_first_record(folder: Folder, position: int) -> None:
    reader = SegmentReader(write_segment(folder, "a", line(1)), position)
    reader.own()
    assert all_lines(reader) == line(1)
    reader.close()


@pytest.mark.parametrize("position", [100_000, 2**63 - 1, 2**63, 10**30])
def test_a_position_beyond_the_end_means_that_all_was_settled(folder: Folder, position: int) -> None:
    reader = SegmentReader(write_segment(folder, "a", line(1), bytes(500)), position)
    reader.own()
    assert all_lines(reader) == b""
    assert reader.finished
    reader.close()


# --- headers ---


@pytest.mark.parametrize(
    "header",
    [
        b"garbage\n",
        b"{}\n",
        b'{"tallystick":"1"}\n',
        b"\xff\xfe\n",
        b"[" * 3000 + b"\n",
        encode_header(Header(FORMAT, "another")),
        line(0),
        b'{"tallystick":-1}' + b" " * 5000 + b"\n",
    ],
)
def test_a_damaged_header_costs_itself_and_no_record(folder: Folder, header: bytes) -> None:
    reader = SegmentReader(write_segment(folder, "a", line(1), line(2), header=header))
    reader.own()
    assert [(damage.offset, damage.line) for damage in reader.damaged] == [(0, header[:-1])]
    batch, damaged = reader.codec.batch(reader.lines(10), reader.position)
    assert [record.id for record in batch.records] == [f"a-{len(header)}", f"a-{len(header) + len(line(1))}"]
    assert damaged == []
    reader.close()


def test_a_damaged_header_is_told_once_and_not_after_a_restart_behind_it(folder: Folder) -> None:
    path = write_segment(folder, "a", line(1), line(2), header=b"garbage\n")
    reader = SegmentReader(path, 8 + len(line(1)))
    assert reader.damaged == []
    reader.close()


@pytest.mark.parametrize("content", [b"", bytes(4096), b"\n", b"\n\n\n"])
def test_a_file_with_nothing_in_it_is_finished(folder: Folder, content: bytes) -> None:
    reader = SegmentReader(write_segment(folder, "a", header=content))
    reader.own()
    all_lines(reader)
    assert reader.finished
    assert reader.damaged == []
    reader.close()


def test_garbage_without_a_newline_is_told(folder: Folder) -> None:
    reader = SegmentReader(write_segment(folder, "a", header=b"garbage" + bytes(100)))
    reader.own()
    assert [damage.line for damage in reader.damaged] == [b"garbage"]
    assert reader.finished
    reader.close()


def test_a_newer_format_is_refused_and_nothing_stays_open(folder: Folder) -> None:
    path = write_segment(folder, "a", line(1), header=b'{"tallystick":2,"segment":"a"}\n')
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(SpoolTooNew, match="format 2, this version reads up to 1; upgrade tallystick"):
            SegmentReader(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_segment_that_is_gone_says_so(folder: Folder) -> None:
    with pytest.raises(FileNotFoundError):
        SegmentReader(folder.segment("a"))
    reader = SegmentReader(write_segment(folder, "a", line(1)))
    folder.segment("a").unlink()
    with pytest.raises(FileNotFoundError):
        reader.own()
    reader.close()


def test_only_one_reader_owns_a_segment(folder: Folder) -> None:
    path = write_segment(folder, "a", line(1))
    first, second = SegmentReader(path), SegmentReader(path)
    assert first.own()
    assert not second.own()
    first.close()
    assert second.own()
    second.close()


def test_every_writer_writes_what_a_reader_reads(make_spool: MakeSpool) -> None:
    spool = make_spool(tags={"env": "prod"})
    written = [line(value, "größe", ["a"]) for value in range(200)]
    for text in written:
        assert spool.append(text, "größe")
    spool.close()
    found = b""
    for identity in spool.folder.segment_ids():
        reader = SegmentReader(spool.folder.segment(identity))
        assert reader.own()
        assert reader.codec.header.tags == {"env": "prod"}
        found += all_lines(reader)
        reader.close()
    assert found == b"".join(written)
