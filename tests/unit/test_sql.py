"""The ledger's arithmetic against a model of it, and values against their cells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.backends._sql import Range, cells, covered, from_cells, not_stored
from tallystick.records import Batch
from tallystick.testing import counters, make_batch
from tallystick.testing.builders import typed

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC))  # noqa: DTZ001
LEAVES = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | MOMENTS
VALUES = st.recursive(
    LEAVES, lambda part: st.lists(part, max_size=4) | st.dictionaries(TEXTS, part, max_size=4), max_leaves=12
)


class Ledger:
    """The ledger's rows of one segment, touched or overlapping ones taken out and replaced as a store does it."""

    def __init__(self) -> None:
        self.ranges: list[Range] = []

    def touching(self, batch: Batch) -> list[Range]:
        return [(start, stop) for start, stop in self.ranges if start <= batch.end and stop >= batch.start]

    def deliver(self, batch: Batch, rejected: set[int]) -> list[int]:
        touching = self.touching(batch)
        fresh = list(not_stored(batch, touching))
        refused = [index for index in fresh if batch.records[index].offset in rejected]
        kept = [given for given in self.ranges if given not in touching]
        self.ranges = sorted(kept + covered(batch, refused, touching))
        return [batch.records[index].offset for index in fresh if index not in refused]


@st.composite
def deliveries(draw: st.DrawFn) -> list[tuple[int, int, set[int], set[int]]]:
    """Of forty lines: from which to which, which are left out, and which the store rejects this time."""
    lines = st.integers(0, 39)
    return draw(
        st.lists(
            st.tuples(lines, lines, st.sets(lines, max_size=6), st.sets(lines, max_size=4)), min_size=1, max_size=12
        )
    )


@given(deliveries())
def test_every_record_is_stored_once_and_none_is_taken_for_stored(
    parts: list[tuple[int, int, set[int], set[int]]],
) -> None:
    whole = make_batch(*counters(40))
    offsets = [record.offset for record in whole.records]
    ledger, stored = Ledger(), []
    for first, last, left_out, rejected in [*parts, (0, 39, set(), set())]:
        if first > last:
            first, last = last, first  # noqa: PLW2901
        batch = whole if last == 39 else whole.split(last + 1)[0]
        batch = batch if first == 0 else batch.split(first)[1]
        batch = batch.only(index for index in range(len(batch)) if first + index not in left_out)
        stored += ledger.deliver(batch, {offsets[index] for index in rejected})
        assert len(stored) == len(set(stored)), "stored twice"
        marked = {offset for offset in offsets if any(start <= offset < stop for start, stop in ledger.ranges)}
        assert marked == set(stored)
    assert sorted(stored) == offsets
    assert ledger.ranges == [(whole.start, whole.end)], "one row is left when all is stored"


def test_batches_in_a_row_extend_one_range() -> None:
    batch = make_batch(*counters(30))
    ledger = Ledger()
    while len(batch) > 10:
        first, batch = batch.split(10)
        ledger.deliver(first, set())
        assert len(ledger.ranges) == 1
    assert ledger.ranges[0][1] == batch.start


@given(VALUES, st.dictionaries(TEXTS, st.none() | st.booleans() | INTEGERS | TEXTS, max_size=3))
def test_every_value_comes_back_from_its_cells(value: Any, metadata: dict[str, Any]) -> None:
    cell, extra = cells(value, metadata)
    assert type(cell) in (int, float, str, type(None))
    assert typed(from_cells(cell, extra)) == typed((value, metadata))


@pytest.mark.parametrize("value", [0, 1.5, -(2**63), "text", "", None])
def test_natural_values_stand_in_their_cell_alone(value: Any) -> None:
    assert cells(value, {}) == (value, None)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (float("nan"), ValueError),
        (float("-inf"), ValueError),
        (2**63, OverflowError),
        (b"bytes", TypeError),
        ({1, 2}, TypeError),
        (object(), TypeError),
    ],
)
def test_what_no_record_may_have_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="value"):
        cells(value, {})
