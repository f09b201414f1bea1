"""What a record and a batch promise: an id that never changes, and ranges that add up."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.records import NOWHERE, Batch, Header, Record

HEADER = Header(tallystick=1, segment="0198f3", host="web-1", pid=7, app="shop")


def record_at(offset: int, own_id: str | None = None) -> Record:
    return Record(offset, "counter", "n", 1, header=HEADER, offset=offset, own_id=own_id)


@st.composite
def batches(draw: st.DrawFn, min_records: int = 0) -> Batch:
    """A range of lines, some of them damaged: those have no record and stand in `missing`."""
    lengths = draw(st.lists(st.integers(20, 90), min_size=min_records, max_size=12))
    start = draw(st.integers(0, 1000))
    offsets = [start + sum(lengths[:index]) for index in range(len(lengths))]
    damaged = draw(st.sets(st.sampled_from(offsets), max_size=max(0, len(offsets) - min_records))) if offsets else set()
    whole = [record_at(offset) for offset in offsets if offset not in damaged]
    return Batch(HEADER, start, start + sum(lengths), whole, tuple(sorted(damaged)))


def test_a_records_id_is_its_place_unless_the_caller_gave_one() -> None:
    assert record_at(93).id == "0198f3-93"
    assert record_at(93, own_id="order-1").id == "order-1"
    assert record_at(93, own_id="").id == ""
    assert not record_at(93).replaces
    assert record_at(93, own_id="order-1").replaces


def test_two_records_of_a_spool_never_share_an_id() -> None:
    segments = [Header(tallystick=1, segment=f"0198f{digit}") for digit in range(3)]
    records = [Record(1, "counter", "n", 1, header=header, offset=at) for header in segments for at in (0, 9, 99)]
    assert len({record.id for record in records}) == len(records)


def test_a_record_knows_who_recorded_it() -> None:
    record = record_at(0)
    assert (record.host, record.app, record.pid) == ("web-1", "shop", 7)
    assert Record(1, "counter", "n").header is NOWHERE


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        record_at(0).value = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        HEADER.segment = "other"  # type: ignore[misc]


def test_a_headers_defaults_take_no_room_on_the_disk() -> None:
    assert msgspec.json.encode(Header(tallystick=1, segment="a")) == b'{"tallystick":1,"segment":"a"}'


@given(batches(min_records=2), st.data())
def test_splitting_gives_two_batches_that_together_are_the_first(batch: Batch, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(batch) - 1))
    left, right = batch.split(at)
    assert [len(left), len(right)] == [at, len(batch) - at]
    assert left.records + right.records == batch.records
    assert left.missing + right.missing == batch.missing
    assert (left.start, left.end, right.end) == (batch.start, right.start, batch.end)
    for part in (left, right):
        assert part.header is batch.header
        assert all(part.start <= record.offset < part.end for record in part.records)
        assert all(part.start <= offset < part.end for offset in part.missing)


@given(batches(min_records=2))
def test_halving_again_and_again_ends_with_each_record_alone_and_once(batch: Batch) -> None:
    alone, todo = [], [batch]
    while todo:
        part = todo.pop()
        if len(part) == 1:
            alone += part.records
        else:
            todo += reversed(part.split(len(part) // 2))
    assert alone == batch.records


@given(batches(), st.data())
def test_what_is_left_out_of_a_batch_is_missing_in_it(batch: Batch, data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.sampled_from(range(len(batch))))) if len(batch) else []
    chosen = batch.only(indices)
    assert chosen.records == [record for index, record in enumerate(batch.records) if index in indices]
    assert (chosen.start, chosen.end) == (batch.start, batch.end)
    every_line = sorted([*batch.missing, *(record.offset for record in batch.records)])
    assert sorted([*chosen.missing, *(record.offset for record in chosen.records)]) == every_line
    assert list(chosen.missing) == sorted(set(chosen.missing))


def test_a_batch_shows_its_range_and_not_its_content() -> None:
    secret = Record(1, "event", "n", "hunter2", header=HEADER)
    assert repr(Batch(HEADER, 0, 50, [secret])) == "<Batch 0198f3[0:50], 1 records>"
