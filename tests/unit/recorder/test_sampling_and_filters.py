"""Sampling keeps sums right in expectation; filters drop, rename and scrub before anything is stored."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.recorder.conftest import Lines

from tallystick.errors import RecordError
from tallystick.recorder.draft import Draft
from tallystick.recorder.filters import MASK, drop, rename
from tallystick.recorder.metrics import Metrics

Make = Callable[..., Metrics]


@pytest.fixture(autouse=True)
def same_luck_each_time() -> None:
    random.seed(7)


@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_a_sampled_sum_is_right_in_expectation_and_the_rate_is_stored(
    make_metrics: Make, lines: Lines, rate: float
) -> None:
    whole, sampled = make_metrics(sample_rate=rate), make_metrics()
    for _ in range(20_000):
        whole.increment("whole", 2)
        sampled.increment("call", 2, sample_rate=rate)
    found = lines.take()
    for name in ("whole", "call"):
        mine = [line for line in found if line[2] == name]
        assert {line[5]["rate"] for line in mine} == {rate}
        weighed = sum(line[3] / line[5]["rate"] for line in mine)
        deviation = 2 * (20_000 * (1 - rate) / rate) ** 0.5  # of the binomial, weighed by 2 / rate
        assert abs(weighed - 40_000) < 5 * deviation


def test_a_rate_of_the_call_goes_before_that_of_the_settings(make_metrics: Make, lines: Lines) -> None:
    metrics = make_metrics(sample_rate=0.000_001)
    for _ in range(10):
        metrics.increment("n", sample_rate=1)
    assert [line[1:] for line in lines.take()] == [["counter", "n", 1]] * 10


def test_bad_input_is_refused_also_when_it_would_not_have_been_sampled(make_metrics: Make) -> None:
    metrics = make_metrics(sample_rate=0.000_001)
    for _ in range(10):
        metrics.increment("n", "x")  # type: ignore[arg-type]
    assert metrics.refused == {("type", "n"): 10}


# --- filters ---


def test_drop_and_rename(make_metrics: Make, lines: Lines) -> None:
    metrics = make_metrics(filters=[drop("debug.*", "x[1]"), rename("signup", "user.signup")])
    for name in ("debug.a", "signup", "debug", "x[1]", "x1"):
        for _ in range(2):
            metrics.increment(name)
    assert [line[2] for line in lines.take()] == ["user.signup"] * 2 + ["debug"] * 2 + ["x1"] * 2
    assert metrics.refused == {("filter", "debug.a"): 2, ("filter", "x[1]"): 2}


def test_filters_see_records_in_their_order_and_each_the_result_of_the_one_before(
    make_metrics: Make, lines: Lines
) -> None:
    def louder(draft: Draft) -> Draft:
        draft.name += "!"
        return draft

    metrics = make_metrics(filters=[louder, rename("n!", "m"), louder])
    metrics.increment("n")
    assert lines.one()[1] == "m!"


def fail(draft: Draft) -> Draft:
    raise RuntimeError("about to remove a secret")


def test_a_filter_that_fails_drops_its_record_and_is_counted(make_metrics: Make, lines: Lines) -> None:
    metrics = make_metrics(filters=[fail])
    metrics.increment("n")
    assert lines.raw == []
    assert metrics.refused == {("failed", "n"): 1}
    with pytest.raises(RecordError, match="RuntimeError"):
        make_metrics(filters=[fail], strict=True).increment("n")


@pytest.mark.parametrize(
    "change",
    [
        {"name": 123},
        {"name": "a\0"},
        {"value": float("nan")},
        {"value": {1: "x"}},
        {"tags": {"a": 1j}},
        {"timestamp_ns": "now"},
        {"timestamp_ns": 1.5},
        {"timestamp_ns": -1},
        {"sample_rate": 0},
        {"metadata": [1]},
        {"id": b"x"},
        {"kind": None},
    ],
)
def test_a_filter_cannot_write_what_a_call_could_not(make_metrics: Make, lines: Lines, change: dict[str, Any]) -> None:
    def spoil(draft: Draft) -> Draft:
        for field, value in change.items():
            setattr(draft, field, value)
        return draft

    metrics = make_metrics(filters=[spoil])
    metrics.increment("n")
    assert lines.raw == []
    assert sum(metrics.refused.values()) == 1


def test_a_filter_that_gives_something_else_back_is_counted(make_metrics: Make, lines: Lines) -> None:
    metrics = make_metrics(filters=[bool])
    metrics.increment("n")
    assert lines.raw == []
    assert metrics.refused == {("failed", "n"): 1}


# --- scrubbing ---


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "user_password",
        "userPassword",
        "X-Api-Key",
        "authorization",
        "Set-Cookie",
        "db.passwd",
        "access_token",
    ],
)
def test_values_under_secret_keys_never_reach_a_line(metrics: Metrics, lines: Lines, key: str) -> None:
    for _ in range(2):
        metrics.increment("n", tags={key: "hunter2"}, metadata={key: "hunter2", "deep": [{key: {"a": "hunter2"}}]})
        metrics.increment("short", tags={key: "hunter2"})
        metrics.counter("handle", tags={key: "hunter2"}).inc()
        metrics.bind(tags={key: "hunter2"}).gauge("bound", 1)
        metrics.custom("doc", "k", {"list": [{key: "hunter2"}], key: ["hunter2"]})
    assert b"hunter2" not in b"".join(lines.raw)
    assert {line[4][key] for line in lines.take() if line[1] != "k"} == {MASK}


@pytest.mark.parametrize("key", ["passwords", "tokenizer", "mytoken2", "secretary", "api", "key"])
def test_other_keys_are_left_alone(metrics: Metrics, lines: Lines, key: str) -> None:
    metrics.increment("n", tags={key: "value"})
    assert lines.one()[3] == {key: "value"}


def test_the_keys_are_a_setting(make_metrics: Make, lines: Lines) -> None:
    metrics = make_metrics(scrub=("iban",))
    metrics.increment("n", tags={"iban": "DE1", "password": "x"})
    assert lines.one()[3] == {"iban": MASK, "password": "x"}
    assert isinstance(metrics.settings.home, Path)


def test_filters_see_what_is_scrubbed_already(make_metrics: Make) -> None:
    seen: list[Any] = []

    def see(draft: Draft) -> None:
        seen.append(draft.tags)

    make_metrics(filters=[see]).increment("n", tags={"token": "x"})
    assert seen == [{"token": MASK}]


def test_global_tags_are_scrubbed_before_they_reach_a_header(make_metrics: Make) -> None:
    metrics = make_metrics(tags={"api_key": "hunter2", "env": "prod"})
    metrics.divert(None)
    metrics.increment("n")
    (segment, *_) = sorted(metrics.settings.home.glob("default/segments/*.jsonl"))
    assert b"hunter2" not in segment.read_bytes()
    assert b'"env":"prod"' in segment.read_bytes()
