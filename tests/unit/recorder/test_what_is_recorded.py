"""What a call becomes: names, tags, words, bound children, times, ids, documents; and what it leaves alone."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from tests.unit.recorder.conftest import Lines

from tallystick.codec import FORMAT, Reader
from tallystick.errors import RecordError
from tallystick.queries import Query
from tallystick.recorder.draft import Draft
from tallystick.recorder.metrics import Metrics
from tallystick.records import Header, Record

Make = Callable[..., Metrics]


def records(lines: Lines) -> list[Record]:
    batch, damaged = Reader(Header(FORMAT, "segment")).batch(b"".join(lines.raw), 0)
    assert damaged == []
    lines.raw = []
    return batch.records


def test_each_kind_becomes_its_line(metrics: Metrics, lines: Lines) -> None:
    metrics.increment("n")
    metrics.decrement("n", 3)
    metrics.gauge("g", True)
    metrics.timing("t", 42, unit="ms")
    metrics.event("e", "v42 is out", tags=["release"])
    metrics.custom("c", "xml", {"size": [1, None, "x"]})
    assert [line[1:] for line in lines.take()] == [
        ["counter", "n", 1],
        ["counter", "n", -3],
        ["gauge", "g", True],
        ["timing", "t", 42, {}, {"unit": "ms"}],
        ["event", "e", "v42 is out", ["release"]],
        ["xml", "c", {"size": [1, None, "x"]}],
    ]


def test_the_time_is_now_in_nanoseconds(metrics: Metrics, lines: Lines) -> None:
    before = datetime.now(UTC).timestamp()
    for _ in range(2):
        metrics.increment("n")
    after = datetime.now(UTC).timestamp()
    assert all(before - 0.01 <= line[0] / 1e9 <= after + 0.01 for line in lines.take())


@pytest.mark.parametrize(
    ("timestamp", "nanoseconds"),
    [
        (0, 0),
        (1_700_000_000, 1_700_000_000 * 10**9),
        (1_700_000_000.123456, 1_700_000_000_123_456_000),
        (datetime(2025, 1, 1, tzinfo=UTC), 1_735_689_600 * 10**9),
        (datetime(2025, 1, 1, 5, 30, 0, 7, tzinfo=timezone(timedelta(hours=5, minutes=30))), 1_735_689_600_000_007_000),
        (Decimal("1.5"), 1_500_000_000),
    ],
)
def test_a_timestamp_is_epoch_seconds_or_an_aware_datetime(
    metrics: Metrics, lines: Lines, timestamp: Any, nanoseconds: int
) -> None:
    metrics.increment("n", timestamp=timestamp)
    assert lines.take()[0][0] == nanoseconds


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (3, 3),
        (2.5, 2.5),
        (True, 1),
        (Decimal("2.5"), 2.5),
        (Fraction(1, 4), 0.25),
        (-(2**63), -(2**63)),
        (1e300, 1e300),
    ],
)
def test_counts_are_whole_or_finite_numbers(metrics: Metrics, lines: Lines, value: Any, stored: Any) -> None:
    metrics.increment("n", value)
    (record,) = records(lines)
    assert (type(record.value), record.value) == (type(stored), stored)


@pytest.mark.parametrize("value", [3, 2.5, True, Decimal("2.5"), Fraction(1, 4)])
def test_a_decrement_is_the_opposite_of_the_increment(metrics: Metrics, lines: Lines, value: Any) -> None:
    metrics.increment("n", value)
    metrics.decrement("n", value)
    metrics.counter("n").inc(value)
    metrics.counter("n").dec(value)
    assert sum(line[3] for line in lines.take()) == 0


def test_unsigned_numbers_of_other_libraries_do_not_wrap_around(metrics: Metrics, lines: Lines) -> None:
    class Unsigned(int):
        def __neg__(self) -> int:
            return 256 - int(self)

    metrics.decrement("n", Unsigned(3))
    assert lines.one() == ["counter", "n", -3]


# --- tags ---


def test_tags_become_texts_and_none_is_left_out(metrics: Metrics, lines: Lines) -> None:
    metrics.increment("n", tags={"a": "x", "b": 1, "c": 1.5, "d": True, "e": None, "f": Decimal("0.5")})
    assert lines.one()[3] == {"a": "x", "b": "1", "c": "1.5", "d": "true", "f": "0.5"}


def test_words_are_kept_as_a_list_each_once(metrics: Metrics, lines: Lines) -> None:
    metrics.increment("n", tags=["b", "a", "b"])
    metrics.increment("n", tags=("b", "a"))
    metrics.increment("n", tags=(word for word in "ba"))
    assert [line[4] for line in lines.take()] == [["b", "a"]] * 3


def test_a_child_adds_tags_and_namespace_and_the_call_wins(metrics: Metrics, lines: Lines) -> None:
    child = metrics.bind(tags={"shop": "hh-1", "env": "prod"}, namespace="shop")
    grandchild = child.bind(tags={"till": "3"}, namespace="till")
    for _ in range(2):
        child.increment("sale", tags={"env": "test"})
        grandchild.increment("sale")
        metrics.increment("sale")
    found = [(line[2], line[4] if len(line) > 4 else {}) for line in lines.take()]
    assert found == 2 * [
        ("shop.sale", {"shop": "hh-1", "env": "test"}),
        ("shop.till.sale", {"shop": "hh-1", "env": "prod", "till": "3"}),
        ("sale", {}),
    ]


def test_words_and_texts_together_become_tags(metrics: Metrics, lines: Lines) -> None:
    metrics.bind(tags=["beta"]).increment("n", tags={"plan": "pro"})
    metrics.bind(tags={"plan": "pro"}).increment("n", tags=["beta"])
    metrics.bind(tags=["beta"]).increment("n", tags=["gamma"])
    metrics.bind(tags=["beta"]).increment("n")
    assert [line[4] for line in lines.take()] == [
        {"beta": "true", "plan": "pro"},
        {"plan": "pro", "beta": "true"},
        ["beta", "gamma"],
        ["beta"],
    ]


def test_a_child_with_impossible_tags_cannot_be_made(metrics: Metrics) -> None:
    with pytest.raises(RecordError, match="tags"):
        metrics.bind(tags={"a": b"x"})


def test_the_namespace_stands_before_every_name(make_metrics: Make, lines: Lines) -> None:
    metrics = make_metrics(namespace="shop")
    metrics.increment("n")
    metrics.counter("n").inc()
    with metrics.timed("n"):
        pass
    assert {line[2] for line in lines.take()} == {"shop.n"}


def test_global_tags_stand_once_in_the_header(make_metrics: Make) -> None:
    metrics = make_metrics(tags={"env": "prod"})
    metrics.divert(None)
    metrics.increment("n", tags={"plan": "pro"})
    (segment,) = sorted(metrics.settings.home.glob("default/segments/*.jsonl"))
    header, line, *_ = segment.read_bytes().split(b"\n")
    assert msgspec.json.decode(header)["tags"] == {"env": "prod"}
    assert b"env" not in line


# --- objects ---


def test_the_callers_objects_are_never_changed(make_metrics: Make, lines: Lines) -> None:
    metrics = make_metrics(filters=[_meddle])
    tags = {"password": "x", "plan": "pro", "none": None}
    document = {"password": "x", "when": datetime(2025, 1, 1, tzinfo=UTC), "list": [1, {"token": "y"}], "tuple": (1, 2)}
    metadata = {"secret": {"token": "z"}, "t": datetime(2025, 1, 1, tzinfo=UTC)}
    words = ["a", "a"]
    before = copy.deepcopy((tags, document, metadata, words))
    for _ in range(2):
        metrics.increment("n", tags=tags, metadata=metadata)
        metrics.custom("c", "k", document, tags)
        metrics.custom("c", "k", document, words, metadata=metadata)
        metrics.bind(tags=tags).counter("n", tags=words).inc(2.5)
    assert (tags, document, metadata, words) == before
    assert len(lines.take()) == 8


def _meddle(draft: Any) -> Any:
    for part in (draft.tags, draft.metadata, draft.value):
        if isinstance(part, dict):
            part["added"] = "1"
            part.pop("plan", None)
    return draft


def test_a_document_comes_back_as_it_was(metrics: Metrics, lines: Lines) -> None:
    moment = datetime(2025, 1, 1, 12, tzinfo=UTC)
    document = {"n": 1, "f": 0.5, "s": "ü\n", "b": True, "none": None, "when": moment, "list": [[moment], {}]}
    metrics.custom("c", "k", MappingProxyType(document))  # type: ignore[arg-type]
    (record,) = records(lines)
    assert record.value == document


def test_16_levels_and_1000_items_are_taken(metrics: Metrics, lines: Lines) -> None:
    value: Any = 1
    for _ in range(16):
        value = [value]
    metrics.custom("c", "k", value)
    metrics.custom("c", "k", {str(n): n for n in range(1000)})
    assert len(lines.take()) == 2
    assert metrics.refused == {}


def test_an_own_id_metadata_and_unit_are_kept(metrics: Metrics, lines: Lines) -> None:
    metrics.custom("c", "k", 5, id_="2B75D750", unit="kg", metadata={"user": 7})
    (record,) = records(lines)
    assert (record.id, record.replaces, record.unit, record.metadata) == ("2B75D750", True, "kg", {"user": 7})


def test_hostile_texts_come_back_as_they_were(metrics: Metrics, lines: Lines) -> None:
    for text in [
        "\n]\n[",
        '","',
        "\\",
        "\u2028",
        "%d %s %",
        "'; DROP TABLE x; --",
        "\x1b[31m",
        "🦊" * 40,
        "}{",
        "\r\n",
    ]:
        for _ in range(2):
            metrics.increment(text, tags={text: text})
            metrics.event(text, text, tags=[text])
        for record in records(lines):
            assert record.name == text
            assert set(record.tags) == {text}


def test_a_ready_record_keeps_its_time_tags_id_and_rate(metrics: Metrics, lines: Lines) -> None:
    given = Record(
        1_763_683_200_123_456_789,
        "counter",
        "n",
        5,
        {"plan": "pro"},
        unit="kg",
        metadata={"user": 7},
        sample_rate=0.25,
        own_id="mine",
    )
    metrics.record(given)
    metrics.record(msgspec.structs.replace(given, words=("a", "b"), tags={"a": "true", "b": "true"}, own_id=None))
    first, second = records(lines)
    assert msgspec.structs.replace(first, header=given.header, offset=0) == given
    assert second.words == ("a", "b")


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp_ns": -1},
        {"timestamp_ns": "now"},
        {"timestamp_ns": 2**62},
        {"name": ""},
        {"sample_rate": 0.0},
        {"value": "x"},
    ],
)
def test_a_ready_record_is_checked_like_any_other(metrics: Metrics, lines: Lines, change: dict[str, Any]) -> None:
    metrics.record(msgspec.structs.replace(Record(1_763_683_200 * 10**9, "counter", "n", 1), **change))
    assert lines.raw == []
    assert sum(metrics.refused.values()) == 1


# --- handles ---


def test_a_handle_writes_what_the_call_writes(metrics: Metrics, lines: Lines) -> None:
    bound = metrics.bind(tags={"shop": "hh"})
    handle, timer = bound.counter("n", tags={"plan": "pro"}), bound.timer("t", tags=["a"])
    for value in (1, 2, 2.5, 1.0, True, -(2**63)):
        handle.inc(value)
        bound.increment("n", value, tags={"plan": "pro"})
        by_handle, by_call = lines.take()
        assert by_handle[1:] == by_call[1:]
    timer.record(0.5)
    bound.timing("t", 0.5, tags=["a"])
    by_handle, by_call = lines.take()
    assert by_handle[1:] == by_call[1:]
    with timer.time():
        pass
    assert lines.one()[:2] == ["timing", "t"]


def test_a_handle_keeps_its_tags_whatever_became_of_what_was_given(metrics: Metrics, lines: Lines) -> None:
    tags = {"plan": "pro"}
    from_dict, from_iterator = metrics.counter("n", tags=tags), metrics.counter("n", tags=iter(["a", "b"]))
    tags["plan"] = "free"
    for value in (1, 2.5):
        from_dict.inc(value)
        from_iterator.inc(value)
    assert [line[4] for line in lines.take()] == [{"plan": "pro"}, ["a", "b"]] * 2


def test_a_handle_that_cannot_record_is_not_made(metrics: Metrics) -> None:
    for make in (metrics.counter, metrics.timer):
        with pytest.raises(RecordError, match="name"):
            make("")
        with pytest.raises(RecordError, match="tags"):
            make("n", tags={"a": b"x"})


def test_a_handle_of_a_sampled_or_filtered_recorder_takes_the_long_way(make_metrics: Make, lines: Lines) -> None:
    seen: list[str] = []

    def see(draft: Draft) -> Draft:
        seen.append(draft.name)
        return draft

    handle = make_metrics(filters=[see]).counter("n")
    handle.inc()
    assert seen == ["n"]
    assert len(lines.take()) == 1


# --- inline ---


def test_an_inline_backend_has_the_record_when_the_call_returns() -> None:
    metrics = Metrics("memory://", tags={"env": "prod"})
    metrics.increment("n", tags={"plan": "pro"})
    (record,) = metrics._route._backend.records(Query("*"))  # type: ignore[attr-defined]
    assert (record.name, record.value, record.tags) == ("n", 1, {"env": "prod", "plan": "pro"})
    metrics.close()


def test_ids_of_an_inline_backend_are_unique_over_threads() -> None:
    metrics = Metrics("memory://")

    def work() -> None:
        for _ in range(500):
            metrics.increment("n", tags={"a": "b"})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(metrics._route._backend.records(Query("*")))) == 2_000  # type: ignore[attr-defined]
    metrics.close()
