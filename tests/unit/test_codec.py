"""What the codec promises: what was written is read back, and damage stays local."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tallystick.codec import FORMAT, DamagedHeader, Reader, decode_header, decode_lines, encode_header, record_line
from tallystick.errors import SpoolTooNew
from tallystick.records import Batch, Damage, Header, Record

HEADER = Header(tallystick=FORMAT, segment="0198f3", host="web-1", pid=7, app="shop", tags={"env": "prod"})

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
names = texts.filter(bool)
moments = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
integers = st.integers(-(2**63), 2**63 - 1)
plain_values = st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | texts | moments
values = st.recursive(
    plain_values, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
documents = st.dictionaries(
    texts, st.recursive(st.none() | integers | texts, lambda inner: st.lists(inner, max_size=3)), max_size=3
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    words = tuple(draw(st.lists(names, max_size=3, unique=True)))
    tags = dict.fromkeys(words, "true") if words else draw(st.dictionaries(names, texts, max_size=4))
    return Record(
        timestamp_ns=draw(integers),
        kind=draw(names),
        name=draw(names),
        value=draw(values),
        tags={**HEADER.tags, **tags},
        words=words,
        header=HEADER,
        unit=draw(st.none() | names),
        metadata=draw(documents),
        sample_rate=draw(st.floats(0, 1, exclude_min=True)),
        own_id=draw(st.none() | names),
    )


batches = st.lists(records(), max_size=8)


def lines_of(records: list[Record]) -> list[bytes]:
    return [record_line(record, HEADER.tags) for record in records]


def read(raw: bytes, start: int = 0) -> tuple[Batch, list[Damage]]:
    return Reader(HEADER).batch(raw, start)


def same(record: Record, other: Record) -> bool:
    """Equal but for the place; 1, 1.0 and True are told apart, which Python's `==` does not."""
    parts = [name for name in Record.__struct_fields__ if name != "offset"]
    return all(typed(getattr(record, part)) == typed(getattr(other, part)) for part in parts)


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: typed(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [typed(part) for part in value]
    return (type(value), value)


@given(batches, st.integers(0, 2**40))
def test_what_was_written_is_read_back(records: list[Record], start: int) -> None:
    lines = lines_of(records)
    batch, damaged = read(b"".join(lines), start)
    assert damaged == []
    assert (batch.start, batch.end, batch.missing) == (start, start + sum(map(len, lines)), ())
    assert len(batch) == len(records)
    for written, got in zip(records, batch.records, strict=True):
        assert same(written, got)


@given(batches, st.integers(0, 2**40))
def test_a_records_place_is_where_its_line_begins(records: list[Record], start: int) -> None:
    lines = lines_of(records)
    batch, _ = read(b"".join(lines), start)
    assert [record.offset for record in batch.records] == [
        start + sum(map(len, lines[:index])) for index in range(len(lines))
    ]
    assert len({record.id for record in batch.records if record.own_id is None}) == sum(
        record.own_id is None for record in records
    )


@given(batches)
def test_a_newline_only_ever_ends_a_line_and_a_nul_is_never_in_one(records: list[Record]) -> None:
    for line in lines_of(records):
        assert line.index(b"\n") == len(line) - 1
        assert b"\0" not in line


@given(batches, st.binary(min_size=1, max_size=60), st.data())
def test_garbage_between_lines_costs_no_record(records: list[Record], garbage: bytes, data: st.DataObject) -> None:
    lines = lines_of(records)
    at = data.draw(st.integers(0, len(lines)))
    raw = b"".join(lines[:at]) + garbage.replace(b"\n", b"\xff") + b"\n" + b"".join(lines[at:])
    batch, damaged = read(raw)
    assume(damaged)  # a few bytes that happen to be a record are no garbage
    assert [d.line for d in damaged] == [garbage.replace(b"\n", b"\xff")]
    assert [d.offset for d in damaged] == [sum(map(len, lines[:at]))] == list(batch.missing)
    assert len(batch) == len(records)
    assert all(same(written, got) for written, got in zip(records, batch.records, strict=True))


@given(st.lists(records(), min_size=1, max_size=6), st.data())
def test_flipped_bytes_cost_at_most_the_lines_they_are_in(records: list[Record], data: st.DataObject) -> None:
    lines = lines_of(records)
    raw = bytearray(b"".join(lines))
    flips = data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(1, 255)), max_size=4))
    for at, mask in flips:
        raw[at] ^= mask
    if not raw.endswith(b"\n"):
        raw += b"\n"
    ends = [sum(map(len, lines[: index + 1])) for index in range(len(lines))]
    hit = {next(index for index, end in enumerate(ends) if at < end) for at, _ in flips}
    hit |= {index + 1 for index in hit}  # a lost newline joins two lines
    batch, damaged = read(bytes(raw))
    got = {record.offset: record for record in batch.records}
    for index, (record, end) in enumerate(zip(records, ends, strict=True)):
        if index not in hit:
            assert same(record, got[end - len(lines[index])])
    assert {d.offset for d in damaged}.isdisjoint(got)


@given(st.binary(max_size=300))
def test_no_bytes_at_all_stop_the_reader(raw: bytes) -> None:
    raw += b"\n"
    batch, damaged = read(raw, 5)
    assert len(batch) + len(damaged) == raw.count(b"\n")
    for damage in damaged:
        assert raw[damage.offset - 5 :].startswith(damage.line + b"\n")


HOSTILE = {
    "nested a hundred thousand deep": b'[1,"c","n",' + b"[" * 100_000 + b"]",
    "a moment before the year 1": b'[1,"c","n","0001-01-01T00:00:00+10:00",{},{"datetimes":[""]}]',
    "a moment that is none": b'[1,"c","n","noon",{},{"datetimes":[""]}]',
    "a moment that is a number": b'[1,"c","n",{"a":5},{},{"datetimes":["/a"]}]',
    "a pointer to nowhere": b'[1,"c","n",{},{},{"datetimes":["/a"]}]',
    "a sample rate of zero": b'[1,"c","n",1,{},{"rate":0}]',
    "a sample rate above one": b'[1,"c","n",1,{},{"rate":1.5}]',
    "a number out of range": b'[1,"c","n",1e999]',
    "a timestamp out of range": b'[9223372036854775808,"c","n",1]',
    "a lone surrogate": b'[1,"c","\\ud800",1]',
    "bytes that are not UTF-8": b'[1,"c","\xff",1]',
    "tags that are numbers": b'[1,"c","n",1,{"a":1}]',
    "too few parts": b'[1,"c","n"]',
    "zeros": b"\0" * 64,
    "nothing": b"",
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_line_is_reported_with_its_bytes_and_its_neighbours_are_read(line: bytes) -> None:
    good = b'[1,"counter","n",1]\n'
    batch, damaged = read(good + line + b"\n" + good)
    assert [(d.offset, d.line) for d in damaged] == [(len(good), line)]
    assert [record.offset for record in batch.records] == [0, len(good) + len(line) + 1]


def test_a_newline_inside_json_does_not_shift_the_places_of_other_lines() -> None:
    """To a JSON decoder the first two pieces are one record and the third is two: three in three pieces."""
    raw = b'[1,"c",\n"n",1]\n[2,"c","n",1][3,"c","n",1]\n[4,"c","n",1]\n'
    batch, damaged = read(raw)
    assert [(record.timestamp_ns, record.offset) for record in batch.records] == [(4, raw.rindex(b"[4"))]
    assert len(damaged) == 3


def test_parts_that_later_versions_may_add_are_passed_over() -> None:
    batch, damaged = read(b'[1,"counter","n",1,{},{"later":[1]},"more"]\n')
    assert (len(batch), damaged) == (1, [])


@given(st.builds(Header, tallystick=st.just(FORMAT), segment=names, host=texts, pid=integers, app=texts,
                 started=integers, tags=st.dictionaries(names, texts)))  # fmt: skip
def test_a_header_is_read_back(header: Header) -> None:
    line = encode_header(header)
    assert line.index(b"\n") == len(line) - 1
    assert decode_header(line) == header


@pytest.mark.parametrize("rest", [b'"segment":"a"', b'"segment":3', b'"other":true'])
def test_a_header_of_a_newer_format_is_told_apart_from_damage(rest: bytes) -> None:
    with pytest.raises(SpoolTooNew, match=f"format {FORMAT + 1}"):
        decode_header(b'{"tallystick":%d,%s}' % (FORMAT + 1, rest))


@given(st.binary(max_size=100))
def test_any_bytes_as_a_header_give_a_header_or_the_one_error(raw: bytes) -> None:
    for line in (raw, b'{"tallystick":1,"segment":"%s"}' % raw, b'{"tallystick":1,"x":%s' % (raw * 2000)):
        try:
            assert decode_header(line).tallystick <= FORMAT
        except DamagedHeader as error:
            assert len(str(error)) < 1000  # noqa: PT017


def test_a_header_nested_too_deep_is_damaged() -> None:
    with pytest.raises(DamagedHeader):
        decode_header(b'{"tallystick":1,"segment":"a","x":' + b"[" * 100_000)


def test_empty_parts_are_left_out_of_a_line() -> None:
    record = Record(1, "counter", "n", 1, {"env": "prod"}, header=HEADER)
    assert record_line(record, {"env": "prod"}) == b'[1,"counter","n",1]\n'
    assert record_line(record) == b'[1,"counter","n",1,{"env":"prod"}]\n'
    assert record_line(msgspec.structs.replace(record, unit="s"), {"env": "prod"}) == (
        b'[1,"counter","n",1,{},{"unit":"s"}]\n'
    )


def test_datetimes_come_back_in_utc_wherever_they_stand() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=timezone(timedelta(hours=2)))
    value = {"a/b~c": [noon, "2026-11-21T12:00:00Z"], "": noon}
    batch, _ = read(record_line(Record(1, "custom", "n", value)))
    got: Any = batch.records[0].value
    assert got == value
    assert got["a/b~c"][0].tzinfo is UTC
    assert got["a/b~c"][1] == "2026-11-21T12:00:00Z"


def test_writing_a_line_leaves_the_record_as_it_was() -> None:
    value = {"at": datetime(2026, 1, 1, tzinfo=UTC), "list": [1]}
    record_line(Record(1, "custom", "n", value))
    assert value == {"at": datetime(2026, 1, 1, tzinfo=UTC), "list": [1]}


def test_equal_tags_are_one_dict_and_memory_stays_bounded() -> None:
    reader = Reader(HEADER)
    raw = b"".join(b'[1,"c","n",1,{"a":"%d"}]\n' % (index % 15_000) for index in range(30_000))
    batch, _ = reader.batch(raw, 0)
    again, _ = reader.batch(b'[1,"c","n",1,{"a":"1"}]\n' * 2, 0)
    assert again.records[0].tags is again.records[1].tags
    assert len(reader._seen) <= 10_002
    assert [record.tags["a"] for record in batch.records] == [str(index % 15_000) for index in range(30_000)]


def test_whole_lines_are_counted_whether_or_not_one_is_damaged() -> None:
    lines, offsets, damaged = decode_lines(b'[1,"c","n",1]\nx\n', 10)
    assert (len(lines), offsets, [d.offset for d in damaged]) == (1, [10], [24])
