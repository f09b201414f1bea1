"""The short way, taken from a call's second time on, writes what the long way writes and refuses what that refuses."""

from __future__ import annotations

import enum
import math
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.recorder.conftest import Lines

from tallystick.recorder.metrics import Metrics
from tallystick.recorder.recorder import CACHED

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
tag_values = texts | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e300, 1e300) | st.booleans()
tags_given = st.none() | st.dictionaries(texts, tag_values | st.none(), max_size=4) | st.lists(texts, max_size=4)
numbers = (
    st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1, 1.0])
)
calls = st.sampled_from(["increment", "gauge", "timing"])
relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def without_time(lines: Lines) -> list[bytes]:
    taken, lines.raw = lines.raw, []
    return [line.partition(b",")[2] for line in taken]


@relaxed
@given(calls, texts, numbers | st.booleans(), tags_given)
def test_every_legal_call_writes_the_same_line_each_time(
    metrics: Metrics, lines: Lines, call: str, name: str, value: Any, tags: Any
) -> None:
    child = metrics.bind()
    for _ in range(3):
        getattr(child, call)(name, value, tags=tags)
    first, second, third = without_time(lines)
    assert first == second == third


@relaxed
@given(texts, st.lists(numbers, min_size=2, max_size=5), tags_given)
def test_a_line_learnt_with_one_value_fits_every_other(
    metrics: Metrics, lines: Lines, name: str, values: list[Any], tags: Any
) -> None:
    learnt = metrics.bind()
    for value in values:
        learnt.increment(name, value, tags=tags)
    short = without_time(lines)
    for value in values:
        metrics.bind().increment(name, value, tags=tags)
    assert short == without_time(lines)


class Text(str):
    __slots__ = ()


class Colour(str, enum.Enum):  # noqa: UP042 - what people have
    RED = "1"


class Number(enum.IntEnum):
    ONE = 1


class Anything:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


LOOK_ALIKES: list[Any] = [
    1, 1.0, True, "1", Decimal(1), Fraction(1), 1 + 0j, Number.ONE, Colour.RED, Text("1"), Anything(), ANY,
    0, 0.0, -0.0, False, "true", None, math.nan, math.inf, b"a", "YQ==", bytearray(b"a"), b"",
    datetime(2025, 1, 1, tzinfo=UTC), "2025-01-01T00:00:00Z", UUID(int=1), str(UUID(int=1)), 2**63 - 1, 2**63, -(2**63),
    float(2**63), [1], (1,), {}, object(),
]  # fmt: skip
TAGS_ALIKE: list[Any] = [
    None, {}, [], (), {"k": "v"}, OrderedDict(k="v"), MappingProxyType({"k": "v"}), {Text("k"): "v"}, {"k": Text("v")},
    {1: "a"}, {"1": "a"}, {True: "a"}, {1.0: "a"}, {None: "a"}, {"null": "a"}, {b"1": "a"}, ["a"], ("a",), {"a"},
    frozenset({"a"}), {"a": None}, {"a": math.nan}, {"a": "x", "b": "y"}, {"b": "y", "a": "x"},
    "a", ["k", "v"], [["k", "v"]],
    [1], ["1"], [True], [Colour.RED], [None], [b"a"], ["YQ=="], b"a", Anything(),
]  # fmt: skip


def outcome(lines: Lines, metrics: Metrics, method: str, value: Any, tags: Any) -> tuple[list[bytes], dict[str, int]]:
    """The line without its time, and what was refused."""
    before = metrics.refused
    getattr(metrics, method)("n", value, tags=tags)
    return without_time(lines), {reason: count for (reason, _), count in (metrics.refused - before).items()}


@pytest.mark.parametrize("method", ["increment", "gauge", "timing", "decrement"])
def test_a_value_that_looks_like_a_known_one_fares_as_on_the_first_call(
    metrics: Metrics, lines: Lines, method: str
) -> None:
    for known in LOOK_ALIKES:
        for value in LOOK_ALIKES:
            fresh, learnt = metrics.bind(), metrics.bind()
            getattr(learnt, method)("n", known, tags={"k": "v"})
            getattr(learnt, method)("n", 1, tags={"k": "v"})
            lines.take()
            expected = outcome(lines, fresh, method, value, {"k": "v"})
            assert outcome(lines, learnt, method, value, {"k": "v"}) == expected, (known, value)


@pytest.mark.parametrize("method", ["increment", "gauge", "timing"])
def test_tags_that_look_like_known_ones_fare_as_on_the_first_call(metrics: Metrics, lines: Lines, method: str) -> None:
    alike = [*TAGS_ALIKE, *({"k": value} for value in LOOK_ALIKES)]
    for known in alike:
        for tags in alike:
            fresh, learnt = metrics.bind(), metrics.bind()
            getattr(learnt, method)("n", 1, tags=known)
            lines.take()
            expected = outcome(lines, fresh, method, 1, tags)
            assert outcome(lines, learnt, method, 1, tags) == expected, (known, tags)


def test_tags_that_the_caller_changes_later_are_not_taken_for_the_old_ones(metrics: Metrics, lines: Lines) -> None:
    tags = {"plan": "pro"}
    words = ["a"]
    metrics.increment("n", tags=tags)
    metrics.increment("w", tags=words)
    tags["plan"] = "free"
    words.append("b")
    metrics.increment("n", tags=tags)
    metrics.increment("w", tags=words)
    assert [line[4] for line in lines.take()] == [{"plan": "pro"}, ["a"], {"plan": "free"}, ["a", "b"]]


def test_what_is_learnt_is_bounded_and_forgetting_it_changes_no_line(metrics: Metrics, lines: Lines) -> None:
    for number in range(2 * CACHED + 10):
        metrics.increment("n", tags={"user": number})
    kept = sum(len(by_tags) for by_tags in metrics._recorder.ready["counter"].values())
    assert 0 < kept <= CACHED
    metrics.increment("n", tags={"user": 5})
    assert lines.take()[-1][1:] == ["counter", "n", 1, {"user": "5"}]


def test_children_that_nobody_holds_leave_nothing_behind(metrics: Metrics) -> None:
    for number in range(100):
        metrics.bind(tags={"request": number}).increment("n")
    assert len(metrics._recorder.shared.recorders) == 1


def test_the_short_way_holds_from_many_threads(metrics: Metrics, lines: Lines) -> None:
    def work() -> None:
        for number in range(500):
            metrics.increment("n", tags={"k": str(number % 7)})
            metrics.increment("n", 2.5, tags={"k": str(number % 7)})

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(line[3] for line in lines.take()) == 8 * 500 * 3.5


def test_a_count_with_two_tags_takes_at_most_90_bytes(metrics: Metrics, lines: Lines) -> None:
    for _ in range(2):
        metrics.increment("user.signup", tags={"plan": "pro", "country": "DE"})
        metrics.increment("cart.items", 3, tags={"plan": "pro", "country": "DE"})
        metrics.increment("request.count", tags={"route": "/checkout", "method": "GET"})
    assert max(map(len, lines.raw)) <= 90
