"""Records as lines and back, without a server: the lines are taken apart by a parser that is not ours."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.influxdb3_standin import lines_of, parse_line
from tests.contract.influxdb_records import characters, names, records

from tallystick.backends.influxdb.lines import Native, to_record
from tallystick.backends.influxdb.text import (
    RESERVED,
    decoded,
    encoded,
    name_to_measurement,
    tag_to_key,
    tag_to_value,
    value_to_tag,
)
from tallystick.records import COUNTER, Batch, Record
from tallystick.testing import make_batch
from tallystick.testing.base import FIELDS
from tallystick.testing.builders import NOON_NS, typed

texts = st.text(characters, max_size=40) | names
writers = st.sampled_from([None, 1, 4])
batches_of = st.lists(records(own_ids=True), min_size=1, max_size=5)


def lines_of_batch(batch: Batch, shape: Native | None = None) -> list[str]:
    lines, indices, rejected = (shape or Native()).lines(batch)
    assert not rejected
    assert indices == list(range(len(batch)))
    return lines


def part(batch: Batch, first: int, end: int) -> Batch:
    return Batch(batch.header, batch.start, batch.end, batch.records[first:end])


def point_of(line: str) -> tuple[str, frozenset[tuple[str, str]], int]:
    """What the servers tell points apart by: measurement, tags, time."""
    measurement, values = parse_line(line)
    tags = frozenset((name, cell) for name, (type_, cell) in values.items() if type_.startswith("Dictionary"))
    return measurement, tags, values["time"][1]


def compared(record: Record) -> dict[str, Any]:
    return {field: typed(getattr(record, field)) for field in FIELDS}


# --- texts ------------------------------------------------------------------------------------------------------------


@given(texts)
def test_every_text_comes_back_from_its_encoding(text: str) -> None:
    assert decoded(encoded(text)) == text
    assert decoded(name_to_measurement(text)) == text
    assert decoded(tag_to_key(text)) == text
    assert tag_to_value(value_to_tag(text)) == text


@given(texts)
def test_no_encoding_has_what_line_protocol_stumbles_over(text: str) -> None:
    for made in (encoded(text), name_to_measurement(text), tag_to_key(text), value_to_tag(text)):
        assert not set(made) & {'"', "'", "\\", *map(chr, range(32)), "\x7f"}
    assert value_to_tag(text)
    assert not RESERVED.fullmatch(tag_to_key(text))
    assert not name_to_measurement(text).startswith(("_", "#"))


@pytest.mark.parametrize("make", [encoded, name_to_measurement, tag_to_key, value_to_tag])
def test_a_nul_is_refused_instead_of_becoming_another_text(make: Any) -> None:
    with pytest.raises(ValueError, match="NUL"):
        make("a\0b")


# --- records ----------------------------------------------------------------------------------------------------------


@given(batches_of, names, names, writers)
def test_every_record_comes_back_equal_from_its_line(
    given: list[Record], host: str, app: str, writers: int | None
) -> None:
    batch = make_batch(*given, host=host, app=app)
    lines = lines_of_batch(batch, Native(writers))
    assert lines_of("\n".join(lines)) == lines
    for line, record in zip(lines, batch.records, strict=True):
        measurement, values = parse_line(line)
        row = {name: cell for name, (_, cell) in values.items()}
        found = to_record(measurement, row.pop("time"), row)
        assert compared(found) == compared(record)
        assert (found.id, found.header.host, found.header.app) == (record.id, host, app)


@given(batches_of, st.integers(1, 3))
def test_no_two_records_are_one_point(given: list[Record], segments: int) -> None:
    """Equal ones in one segment, and the same at the same places in several segments of one process."""
    batches = [make_batch(*given, *given) for _ in range(segments)]
    points = [point_of(line) for batch in batches for line in lines_of_batch(batch)]
    assert len(set(points)) == len(points)


@given(batches_of, st.data(), writers)
def test_what_is_sent_again_is_the_same_lines(given: list[Record], data: st.DataObject, writers: int | None) -> None:
    """Whole, in part, after other batches, and by a process that has seen nothing before."""
    shared = {"plan": "pro"}  # numbers with tags that many records share go a shorter way
    values: list[Any] = [1, 2.5, True, 3, 2**60, 1e300, False, "4"]
    batch = make_batch(*given, *(Record(NOON_NS, COUNTER, "hits", value, shared) for value in values), *given)
    first = data.draw(st.integers(0, len(batch) - 1))
    end = data.draw(st.integers(first + 1, len(batch)))
    shape = Native(writers)
    whole = lines_of_batch(batch, shape)
    lines_of_batch(make_batch(*given), shape)
    assert lines_of_batch(batch, shape) == whole
    assert lines_of_batch(part(batch, first, end), shape) == whole[first:end]
    assert lines_of_batch(part(batch, first, end), Native(writers)) == whole[first:end]
    assert [lines_of_batch(part(batch, i, i + 1), Native(writers))[0] for i in range(len(batch))] == whole


@pytest.mark.parametrize("tags", [{"plan": "pro"}, {}, {"a,b=c d": "", "time": "%"}], ids=["plain", "none", "odd"])
def test_ten_thousand_increments_of_one_nanosecond_are_ten_thousand_points(tags: dict[str, str]) -> None:
    batch = make_batch(*(Record(NOON_NS, COUNTER, "hits", 1, tags) for _ in range(10_000)))
    lines = lines_of_batch(batch)
    assert len(set(lines)) == 10_000
    assert len({point_of(line) for line in lines[::100]}) == 100
    assert lines_of_batch(batch) == lines


@given(records())
def test_an_equal_number_of_another_type_is_another_record(record: Record) -> None:
    """1, 1.0 and True share a value in the store, and still come back as what they were."""
    values: list[Any] = [1, 1.0, True, 0, 0.0, False, 2**53 + 1, -(2**63), 2**63 - 1]
    batch = make_batch(*(msgspec.structs.replace(record, value=value) for value in values))
    for line, value in zip(lines_of_batch(batch), values, strict=True):
        measurement, cells = parse_line(line)
        row = {name: cell for name, (_, cell) in cells.items()}
        assert typed(to_record(measurement, row.pop("time"), row).value) == typed(value)
