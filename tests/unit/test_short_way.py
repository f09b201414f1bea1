"""The short way of a recording call against the long one: the same calls, once with nothing seen before and once with.

Whatever was recorded earlier, a call must leave the same line behind, or be refused for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tallystick import Metrics, RecordError

names = st.text(min_size=1, max_size=8) | st.sampled_from(["user.signup", "100%", "a%d"])
values = (
    st.just(1)
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.booleans()
    | st.sampled_from([1.0, 1 + 0j, Decimal(1), Fraction(1), ANY, "1", None])
)
tag_values = (
    st.text(max_size=4)
    | st.integers(-2, 2)
    | st.booleans()
    | st.floats()
    | st.none()
    | st.sampled_from(["%d", b"x", Decimal(1), ANY])
)
tags = (
    st.none()
    | st.dictionaries(st.text(max_size=3) | st.integers(0, 2), tag_values, max_size=3)
    | st.lists(st.text(max_size=3), max_size=3)
    | st.lists(st.text(max_size=3), max_size=3).map(tuple)
)


def by_handle(metrics: Metrics, name: Any, value: Any, tags: Any) -> None:
    metrics.counter(name, tags=tags).inc(value)


CALLS: dict[str, Callable[[Metrics, Any, Any, Any], None]] = {
    "increment": lambda metrics, name, value, tags: metrics.increment(name, value, tags=tags),
    "gauge": lambda metrics, name, value, tags: metrics.gauge(name, value, tags=tags),
    "timing": lambda metrics, name, value, tags: metrics.timing(name, value, tags=tags),
    "handle": by_handle,
}


class Lines:
    """Stands in the spool's stead and keeps what is written."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    def append(self, line: bytes, name: str) -> bool:
        self.lines.append(line)
        return True


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrics]:
    """Each child that it binds has seen nothing yet."""
    metrics = Metrics(home=tmp_path_factory.mktemp("home"), deliver="off", strict=True)
    yield metrics
    metrics.close(0)


def outcome(metrics: Metrics, call: str, name: Any, value: Any, tags: Any) -> list[Any]:
    """The lines of one call without their times, or the reason of its refusal."""
    lines = Lines()
    metrics.divert(lines)
    try:
        CALLS[call](metrics, name, value, tags)
    except RecordError as error:
        return [error.reason]
    finally:
        metrics.divert(None)
    assert all(line.count(b"\n") == 1 and line.endswith(b"]\n") for line in lines.lines)
    return [msgspec.json.decode(line)[1:] for line in lines.lines]


def alike(tags: Any) -> list[Any]:
    """The tags, and others that are easily taken for them."""
    if not isinstance(tags, dict):
        return [tags, None if tags is None else list(tags)]
    return [
        tags,
        {str(key): value for key, value in tags.items()},
        {key: str(value) for key, value in tags.items()},
        {key: "eA==" if value == b"x" else value for key, value in tags.items()},  # as JSON they are the same
        {key: True if value == 1 else 1 if value is True else value for key, value in tags.items()},
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(name=names, value=values, tags=tags)
@example("n", 1 + 0j, {"a": "x"})
@example("n", ANY, {"a": "x"})
@example("n", 2**63, {"a": "x"})
@example("n", float("nan"), {"a": "x"})
@example("n", float("inf"), {"a": "x"})
@example("n", True, None)
@example("n", 1, {0: "x"})
@example("n", 2, {"a": b"x"})
@example("n", 1, {"a": True})
@example("n", 0.5, {"a": Decimal(1)})
@example("%d", 2, {"%s": "%b"})
def test_a_call_leaves_the_same_line_whatever_was_recorded_before(
    root: Metrics, name: str, value: Any, tags: Any
) -> None:
    for call in CALLS:
        fresh = outcome(root.bind(), call, name, value, tags)
        for before in alike(tags):
            metrics = root.bind()
            outcome(metrics, call, name, 1, before)
            assert outcome(metrics, call, name, value, tags) == fresh


def test_a_line_that_a_longer_number_would_make_too_long_is_refused_the_second_time_too(home: Path) -> None:
    metrics = Metrics(home=home, deliver="off", strict=True, segment_bytes=65_536)  # a line may take a quarter of it
    full = {f"tag-{index}": "x" * 1_000 for index in range(16)}
    room = 16_384 - len(b'[1763683200123456789,"counter","n",1,' + msgspec.json.encode(full) + b"]\n")
    full["fill"] = "x" * (room - len(b',"fill":""'))
    metrics.increment("n", tags=full)
    with pytest.raises(RecordError, match="takes 16385 bytes"):
        metrics.increment("n", 10, tags=full)
    with pytest.raises(RecordError, match="takes 16385 bytes"):
        metrics.counter("n", tags=full).inc(10)
    metrics.close(0)
