"""Records as documents of a search engine and back, without one: lines of a bulk request, verdicts, moments, tags."""

from __future__ import annotations

import math
import string
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.backends._http import retry_after
from tallystick.backends.base import ACCEPTED
from tallystick.backends.search.bulk import verdicts
from tallystick.backends.search.http import Answer, explain
from tallystick.backends.search.schema import Schema
from tallystick.backends.search.shape import LATEST_NS, NativeShape, moment_of, moment_text, record_of
from tallystick.backends.search.tags import Columns, Pairs, TagStyle
from tallystick.backends.search.time import Time
from tallystick.errors import SettingsError, Unavailable
from tallystick.records import COUNTER, GAUGE, Record
from tallystick.testing import at, counters, make_batch
from tallystick.testing.base import FIELDS
from tallystick.testing.builders import typed

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
moments = st.integers(0, LATEST_NS - 1)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
datetimes = st.datetimes(timezones=st.just(UTC))
plain = st.none() | st.booleans() | numbers | texts | datetimes
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
metadata = st.dictionaries(
    texts, st.none() | st.booleans() | numbers | texts | st.lists(numbers, max_size=2), max_size=2
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    words = tuple(draw(st.lists(texts, max_size=2, unique=True)))
    tags = dict.fromkeys(words, "true") or draw(st.dictionaries(texts, st.just("") | texts, max_size=3))
    return Record(
        draw(moments),
        draw(texts),
        draw(texts),
        draw(values),
        tags,
        words,
        unit=draw(st.none() | texts),
        metadata=draw(metadata),
        sample_rate=draw(st.sampled_from([1.0, 0.5, 0.1, 1 / 3, 1e-9])),
        own_id=draw(st.none() | texts | st.text("ü🎉", min_size=200, max_size=300)),
    )


@given(st.lists(records(), min_size=1, max_size=4), texts, texts, st.sampled_from([Columns(), Pairs()]))
def test_every_record_is_two_lines_that_give_it_back(many: list[Record], host: str, app: str, tags: TagStyle) -> None:
    batch = make_batch(*many, host=host, app=app, pid=7)
    index, lines, sent, refused = NativeShape("shop", tags).lines(batch)
    assert (sent, refused) == (list(range(len(many))), {})
    for record, text in zip(batch.records, lines, strict=True):
        action, document, rest = text.split("\n")
        assert rest == ""
        ((kind, said),) = msgspec.json.decode(action).items()
        source = msgspec.json.decode(document)
        back = record_of(source)
        for field in FIELDS:
            assert typed(getattr(back, field)) == typed(getattr(record, field)), field
        assert source.get("weight", 1) == pytest.approx(1 / record.sample_rate)
        if record.own_id is None:
            day = datetime.fromtimestamp(record.timestamp_ns // 10**9, UTC)
            assert (kind, said["_id"]) == ("create", record.id)
            assert said.get("_index", index) == f"shop-{day:%Y.%m.%d}"
        else:
            assert (kind, said["_index"], said["version"]) == ("index", "shop-unique", record.timestamp_ns)
            assert said["version_type"] == "external_gte"
            assert 0 < len(said["_id"].encode()) <= 512


@given(st.lists(texts, min_size=2, max_size=2, unique=True))
def test_two_own_ids_are_two_documents(two: list[str]) -> None:
    long = [text * (600 // len(text)) for text in two]
    for pair in (two, long):
        batch = make_batch(*(Record(at(0), GAUGE, "g", 1, own_id=own_id) for own_id in pair))
        _, lines, _, _ = NativeShape("shop", Columns()).lines(batch)
        ids = {msgspec.json.decode(line.split("\n")[0])["index"]["_id"] for line in lines}
        assert len(ids) == len(set(pair))


def test_what_a_series_shares_is_not_carried_into_another_segment() -> None:
    shape, tags = NativeShape("shop", Columns()), {"plan": "pro"}
    for host in ("web-1", "web-2", "web-1"):
        batch = make_batch(Record(at(0), COUNTER, "hits", 1, tags), host=host)
        (line,) = shape.lines(batch)[1]
        assert record_of(msgspec.json.decode(line.split("\n")[1])).header.segment == batch.segment
        assert record_of(msgspec.json.decode(line.split("\n")[1])).host == host


def test_a_record_that_cannot_be_a_document_is_refused_alone() -> None:
    bad: list[Any] = [math.nan, math.inf, 2**63, -(2**63) - 1, b"bytes", object(), {1, 2}, "\ud800", {"a": object()}]
    batch = make_batch(*counters(1), *(Record(at(0), "x", "bad", value) for value in bad), *counters(1))
    _, lines, sent, refused = NativeShape("shop", Columns()).lines(batch)
    assert sent == [0, len(bad) + 1]
    assert len(lines) == 2
    assert sorted(refused) == list(range(1, len(bad) + 1))
    for moment in (-1, 2**63, 2**70):
        refused = NativeShape("shop", Columns()).lines(make_batch(Record(moment, GAUGE, "g", 1)))[3]
        assert "1970 to 2262" in refused[0]


@given(moments)
def test_a_moment_is_told_to_the_nanosecond(moment: int) -> None:
    assert moment_of(moment_text(moment)) == moment


@given(st.dictionaries(st.text("a=\\.", max_size=4), st.text("b=\\.", max_size=4), min_size=1, max_size=4))
def test_pairs_of_key_and_value_are_told_apart(tags: dict[str, str]) -> None:
    style = Pairs()
    pairs = style.fields(tags)["tag_pairs"]
    assert len(set(pairs)) == len(tags)
    for tag, text in tags.items():
        assert style.where(tag, [text]) == {"terms": {"tag_pairs": [pairs[list(tags).index(tag)]]}}
        prefix = style.nest((tag,), {})["without"]["filter"]["bool"]["must_not"][0]["prefix"]["tag_pairs"]
        assert [pair.startswith(prefix) for pair in pairs] == [other == tag for other in tags]


@pytest.mark.parametrize(
    ("held_as", "unit_ns", "bucket_ns", "histogram"),
    [
        ("date_nanos", 10**6, 10**9, {"date_histogram": {"field": "t", "fixed_interval": "1000ms"}}),
        ("date_nanos", 10**6, 1_500_000, None),
        ("date", 10**6, 5 * 10**6, {"date_histogram": {"field": "t", "fixed_interval": "5ms"}}),
        ("whole", 10**9, 60 * 10**9, {"histogram": {"field": "t", "interval": 60}}),
        ("whole", 10**9, 10**8, None),
        ("whole", 1, 10**9, None),
    ],
)
def test_a_histogram_is_only_used_where_it_is_exact(
    held_as: Any, unit_ns: int, bucket_ns: int, histogram: dict[str, Any] | None
) -> None:
    time = Time("t", held_as, unit_ns)
    assert time.histogram(bucket_ns) == histogram
    if histogram is not None:
        assert time.row_ns(3 * bucket_ns // unit_ns) == 3 * bucket_ns


@pytest.mark.parametrize(("held_as", "unit_ns"), [("date", 10**6), ("whole", 10**9), ("whole", 1_000)])
@given(st.integers(-5, 5), st.integers(0, 3 * 10**9), st.integers(1, 3 * 10**9))
def test_limits_of_coarser_units_let_the_same_moments_through(
    held_as: Any, unit_ns: int, units: int, start_ns: int, length_ns: int
) -> None:
    (found,) = Time("t", held_as, unit_ns).between(start_ns, start_ns + length_ns) or []
    limits = found["range"]["t"]
    moment = units * unit_ns
    assert (limits["gte"] <= units < limits["lt"]) == (start_ns <= moment < start_ns + length_ns)


@given(st.lists(st.sampled_from([200, 201, 400, 403, 404, 409, 429, 503]), min_size=1, max_size=30))
def test_every_record_has_one_verdict(statuses: list[int]) -> None:
    items = [
        {"create": {"status": s, **({} if s < 300 else {"error": {"type": "t", "reason": "r"}})}} for s in statuses
    ]
    body = msgspec.json.encode({"errors": any(s >= 300 for s in statuses), "items": items})
    sent = [3 * i for i in range(len(statuses))]
    kept = {3 * i for i, s in enumerate(statuses) if s in (403, 404, 429, 503)}
    try:
        result = verdicts(Answer(200, body), sent, "search://")
    except Unavailable:
        assert len(kept) == len(sent)
        return
    assert len(kept) < len(sent)
    assert set(result.kept) == kept
    assert set(result.rejected) == {3 * i for i, s in enumerate(statuses) if s == 400}
    assert (result == ACCEPTED) == all(s in (200, 201, 409) for s in statuses)


def test_an_items_reason_that_looks_like_a_status_fools_nobody() -> None:
    error = {"type": "mapper_parsing_exception", "reason": 'value \'"status":201\' "status":201'}
    items = [{"create": {"status": 201}}, {"create": {"status": 400, "error": error}}]
    body = msgspec.json.encode({"errors": True, "items": items})
    assert set(verdicts(Answer(200, body), [0, 1], "search://").rejected) == {1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("7", 7.0), (" 12 ", 12.0), ("soon", None), ("-3", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text} if text else {}) == seconds


@given(st.binary(max_size=60) | st.sampled_from([b'{"error": {"caused_by": {"caused_by": 3}}}', b'{"error": [1]}']))
def test_whatever_a_proxy_answers_is_explained(body: bytes) -> None:
    kind, reason = explain(body)
    assert isinstance(kind, str)
    assert isinstance(reason, str)


@given(st.text(string.printable, max_size=12))
def test_a_prefix_is_a_name_that_an_index_can_have(prefix: str) -> None:
    try:
        NativeShape(prefix, Columns())
    except SettingsError:
        return
    assert prefix == prefix.lower()
    assert not set(prefix) & set('\\/*?"<>| ,#:\n\t')
    assert prefix[0] not in "-_+."


def test_of_two_templates_whose_patterns_overlap_the_longer_ones_is_stronger() -> None:
    assert Schema("shop-eu", Columns()).wanted["priority"] > Schema("shop", Columns()).wanted["priority"] > 500
