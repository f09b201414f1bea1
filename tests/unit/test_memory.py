"""The oracle's answers, worked out by hand: what all other backends are compared with must be right itself."""

from __future__ import annotations

from typing import Any

import pytest

from tallystick.backends.memory import MemoryBackend, nearest_rank
from tallystick.errors import SettingsError
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, Record
from tallystick.testing import make_batch

Points = list[tuple[float, Any]]


def points(query: Query, *records: Record) -> Points:
    backend = MemoryBackend()
    backend.write(make_batch(*records))
    answers = backend.query(query)
    return answers[0].points if answers else []


def gauge(seconds: float, value: Any, **fields: Any) -> Record:
    return Record(round(seconds * 1e9), GAUGE, "g", value, **fields)


FIVE = [gauge(10, 4), gauge(20, 1.5), gauge(30, True), gauge(70, "text"), gauge(130, 8)]


@pytest.mark.parametrize(
    ("aggregate", "whole", "by_minute"),
    [
        ("count", 5.0, [(0.0, 3.0), (60.0, 1.0), (120.0, 1.0)]),
        ("sum", 14.5, [(0.0, 6.5), (120.0, 8.0)]),
        ("mean", 3.625, [(0.0, 6.5 / 3), (120.0, 8.0)]),
        ("min", 1.0, [(0.0, 1.0), (120.0, 8.0)]),
        ("max", 8.0, [(0.0, 4.0), (120.0, 8.0)]),
        ("last", 8.0, [(0.0, 1.0), (120.0, 8.0)]),
        ("rate", 14.5 / 120, [(0.0, 6.5 / 60), (120.0, 8 / 60)]),
        ("p50", 1.5, [(0.0, 1.5), (120.0, 8.0)]),
        ("p95", 8.0, [(0.0, 4.0), (120.0, 8.0)]),
    ],
)
def test_each_aggregate_as_worked_out_by_hand(aggregate: str, whole: float, by_minute: Points) -> None:
    assert points(Query("g", aggregate=aggregate), *FIVE) == [(0.0, pytest.approx(whole))]
    assert points(Query("g", aggregate=aggregate, bucket="1m"), *FIVE) == [
        (moment, pytest.approx(value)) for moment, value in by_minute
    ]


def test_a_sampled_record_weighs_as_many_as_it_stands_for() -> None:
    records = [gauge(0, 3, sample_rate=0.25), gauge(10, 5)]
    assert points(Query("g", aggregate="count"), *records) == [(0.0, 5.0)]
    assert points(Query("g", aggregate="sum"), *records) == [(0.0, 17.0)]
    assert points(Query("g", aggregate="mean"), *records) == [(0.0, 17 / 5)]
    assert points(Query("g", aggregate="rate"), *records) == [(0.0, 1.7)]
    for aggregate, value in (("min", 3.0), ("max", 5.0), ("last", 5.0), ("p50", 3.0)):
        assert points(Query("g", aggregate=aggregate), *records) == [(0.0, value)]


def test_the_rate_is_over_the_bucket_else_the_range_else_the_span() -> None:
    records = [gauge(10, 6), gauge(40, 6)]
    assert points(Query("g", aggregate="rate", bucket=60), *records) == [(0.0, 0.2)]
    assert points(Query("g", aggregate="rate", start=0, end=120), *records) == [(0.0, 0.1)]
    assert points(Query("g", aggregate="rate", start=0), *records) == [(0.0, 0.4)]
    assert points(Query("g", aggregate="rate"), *records) == [(0.0, 0.4)]
    assert points(Query("g", aggregate="rate"), gauge(10, 6)) == []


def test_the_time_range_has_its_start_and_not_its_end() -> None:
    records = [gauge(second, second) for second in range(10)]
    assert points(Query("g", start=3, end=6), *records) == [(3.0, 12.0)]


def test_last_takes_the_largest_of_the_newest() -> None:
    assert points(Query("g", aggregate="last"), gauge(5, 2), gauge(5, 9), gauge(5, 4), gauge(1, 99)) == [(0.0, 9.0)]


def test_buckets_are_aligned_to_the_epoch_before_1970_too() -> None:
    records = [gauge(-1, 1), gauge(-60, 1), gauge(0, 1), gauge(59.999, 1)]
    assert points(Query("g", aggregate="count", bucket=60), *records) == [(-60.0, 2.0), (0.0, 2.0)]


def test_groups_are_by_name_unit_and_tags_and_a_missing_tag_is_a_group() -> None:
    backend = MemoryBackend()
    backend.write(
        make_batch(
            Record(0, COUNTER, "a", 1, {"plan": "pro"}),
            Record(0, COUNTER, "a", 2, {"plan": "pro", "other": "x"}),
            Record(0, COUNTER, "a", 4, {"other": "x"}),
            Record(0, GAUGE, "a", 8, {"plan": "pro"}, unit="ms"),
            Record(0, GAUGE, "b", 16, {"plan": "free"}),
        )
    )
    assert [(s.name, s.tags, s.unit, s.points) for s in backend.query(Query(by="plan"))] == [
        ("a", {"plan": None}, None, [(0.0, 4.0)]),
        ("a", {"plan": "pro"}, None, [(0.0, 3.0)]),
        ("a", {"plan": "pro"}, "ms", [(0.0, 8.0)]),
        ("b", {"plan": "free"}, None, [(0.0, 16.0)]),
    ]
    assert [(s.name, s.points) for s in backend.query(Query(limit=1))] == [("b", [(0.0, 16.0)])]
    assert [s.points for s in backend.query(Query("a", where={"plan": ["pro", "free"]}, by="other"))] == [
        [(0.0, 1.0)],
        [(0.0, 8.0)],
        [(0.0, 2.0)],
    ]


def test_a_group_without_numbers_has_a_count_and_nothing_else() -> None:
    texts = [gauge(0, "a"), gauge(1, None), gauge(2, {"n": 1}), gauge(3, [1])]
    assert points(Query("g", aggregate="count"), *texts) == [(0.0, 4.0)]
    for aggregate in ("sum", "mean", "min", "max", "last", "rate", "p50"):
        assert points(Query("g", aggregate=aggregate), *texts) == []


@pytest.mark.parametrize(
    ("values", "percent", "wanted"),
    [
        ([7], 50, 7),
        ([1, 2], 50, 1),
        ([1, 2, 3], 50, 2),
        (list(range(1, 21)), 95, 19),
        (list(range(1, 22)), 95, 20),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 102)), 99, 100),
        ([5, 1, 3, 2, 4], 99, 5),
        ([15, 20, 35, 40, 50], 30, 20),  # the usual textbook's example of the nearest rank
    ],
)
def test_the_nearest_rank_is_the_smallest_with_enough_at_or_below(
    values: list[float], percent: int, wanted: float
) -> None:
    assert nearest_rank(values, percent) == wanted
    enough = [value for value in values if 100 * sum(other <= value for other in values) >= percent * len(values)]
    assert min(enough) == wanted


def test_memory_has_no_place_to_name() -> None:
    assert MemoryBackend.from_url("memory://").address == "memory://"
    with pytest.raises(SettingsError, match="memory://"):
        MemoryBackend.from_url("memory://shop")
