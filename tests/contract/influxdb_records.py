"""Every legal name, tag and value, and what line protocol could stumble over more often than by chance."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tallystick.records import Record

characters = st.one_of(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    st.sampled_from(list("\\\"'%,= \n\r\t#_0159AFazµ$/{}[]|;:")),
)
of_ours = ["time", "_field", "_measurement", "host", "value", "text_1", "id", "origin", "writer", "timestamp_ns"]
escapes = ["%0A", "%00", "%2500", "#x", "_", "\\", "a\\", "a,b", "a b", "a=b", "true", "%", "%%", "%2"]
odd = st.sampled_from([*of_ours, *escapes, "x" * 255, "ü" * 255])
names = st.text(characters, min_size=1, max_size=30) | odd
tag_values = st.text(characters, max_size=30) | odd | st.sampled_from(["", "☃" * 1_000])
moments = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(characters, max_size=40),
    st.just("long ☃\n" * 9_000),
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=5
    )


@st.composite
def records(draw: st.DrawFn, *, own_ids: bool = False) -> Record:
    words = draw(st.lists(names, max_size=2, unique=True))
    tags = draw(st.dictionaries(names, tag_values, max_size=4))
    return Record(
        timestamp_ns=draw(st.integers(0, 4_102_444_799 * 10**9)),
        kind=draw(names),
        name=draw(names),
        value=draw(nested(scalars | moments)),
        tags={**tags, **dict.fromkeys(words, "true")},
        words=tuple(words),
        unit=draw(st.none() | names),
        metadata=draw(st.dictionaries(names, nested(scalars), max_size=2)),
        sample_rate=draw(st.sampled_from([1.0, 0.5, 1 / 3, 5e-324])),
        own_id=draw(st.none() | names) if own_ids else None,
    )
