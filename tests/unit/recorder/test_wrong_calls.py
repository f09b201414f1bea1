"""Calls that cannot be meant: an error that names value and remedy where one may be raised, a count where none may."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.recorder.conftest import Lines

from tallystick import Metrics, Record
from tallystick.errors import QueryError, RecordError, SettingsError

Make = Callable[..., Metrics]


@pytest.mark.parametrize("seconds", ["5", None, math.nan, -1, True, [5]], ids=repr)
def test_a_flush_for_no_time_says_what_it_takes(metrics: Metrics, seconds: Any) -> None:
    with pytest.raises(SettingsError) as raised:
        metrics.flush(seconds)
    assert str(raised.value) == f"timeout_seconds: {seconds!r} must be a number of seconds, 0 or more"


@pytest.mark.parametrize("seconds", ["5", math.nan, -1], ids=repr)
def test_a_close_for_no_time_says_what_it_takes_and_closes_nothing(
    metrics: Metrics, lines: Lines, seconds: Any
) -> None:
    with pytest.raises(SettingsError, match="must be a number of seconds, 0 or more"):
        metrics.close(seconds)
    metrics.increment("a")
    assert lines.one()[1] == "a"


@pytest.mark.parametrize("seconds", [0, 0.0, 1, math.inf])
def test_a_flush_takes_any_time(metrics: Metrics, seconds: float) -> None:
    assert metrics.flush(seconds)


def test_a_question_that_is_no_query_says_what_to_write(metrics: Metrics) -> None:
    with pytest.raises(QueryError, match=r"^query: 'signup' is no Query; write tallystick.Query\(name\)$"):
        metrics.query("signup")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", ["increment", "decrement"])
def test_an_argument_that_is_none_is_named_with_the_call_that_got_it(metrics: Metrics, count: str) -> None:
    takes = "it takes tags, timestamp, metadata, unit, sample_rate"
    with pytest.raises(TypeError, match=rf"^increment\(\) got tagz; {takes}$"):
        getattr(metrics, count)("a", tagz=1)


def fail(self: object, *_: object) -> Any:
    raise RuntimeError("this object does not want to be looked at")


def exploding(kind: type, method: str) -> Any:
    """Something of this kind that fails when this is asked of it."""
    return type("Exploding", (kind,), {method: fail})


TAGS = [
    pytest.param(lambda kind=kind, method=method: exploding(kind, method)(), id=f"{kind.__name__} {method}")
    for kind in (dict, list, tuple, set, object)
    for method in ("__len__", "__bool__", "__iter__", "__eq__", "keys", "__getitem__", "__class__", "__repr__")
]


@pytest.mark.parametrize("tags", TAGS)
def test_tags_that_fail_when_they_are_looked_at_never_raise_out_of_a_recording_call(
    metrics: Metrics, lines: Lines, tags: Callable[[], Any]
) -> None:
    for _ in range(2):  # also when the name was seen before
        metrics.increment("a", tags=tags())
        metrics.decrement("a", tags=tags())
        metrics.gauge("a", 1, tags=tags())
        metrics.timing("a", 1, tags=tags())
        metrics.event("a", "b", tags=tags())
        metrics.custom("a", "b", 1, tags())
        with metrics.timed("a", tags=tags()):
            pass
        assert metrics.timed("a", tags=tags())(lambda: "done")() == "done"
        metrics.record(Record(1, "counter", "a", 1, tags=tags()))
        metrics.record(Record(1, "counter", "a", 1, words=tags()))
        metrics.record(Record(1, "counter", "a", 1, metadata=tags()))
        metrics.increment("a", metadata=tags())
    assert len(lines.raw) + sum(metrics.refused.values()) == 24, "each was recorded or counted"


@pytest.mark.parametrize("tags", TAGS)
def test_tags_that_fail_when_they_are_looked_at_raise_nothing_but_a_record_error_where_something_is_made(
    metrics: Metrics, tags: Callable[[], Any]
) -> None:
    for make in (
        lambda: metrics.bind(tags=tags()),
        lambda: metrics.bind(namespace=tags()),
        lambda: metrics.counter("a", tags=tags()),
        lambda: metrics.timer("a", tags=tags()),
    ):
        try:
            make()
        except RecordError:
            pass


def test_a_number_that_cannot_be_negated_is_refused_and_not_raised(metrics: Metrics, lines: Lines) -> None:
    metrics.decrement("a", exploding(float, "__neg__")(3.0))
    metrics.decrement("a", exploding(int, "__int__")(3))
    metrics.counter("a").dec(exploding(float, "__neg__")(3.0))
    assert lines.raw == []
    assert metrics.refused == {("type", "a"): 3}


def test_a_namespace_that_is_no_text_is_refused_with_the_remedy(metrics: Metrics) -> None:
    with pytest.raises(RecordError, match="namespace: 5 is of type int; give a text"):
        metrics.bind(namespace=5)  # type: ignore[arg-type]


def test_strict_raises_and_counts_instead_of_logging(make_metrics: Make, caplog: pytest.LogCaptureFixture) -> None:
    metrics = make_metrics(strict=True)
    with caplog.at_level(logging.DEBUG), pytest.raises(RecordError):
        metrics.increment("a", math.nan)
    assert caplog.records == []
    assert metrics.refused == {("nan", "a"): 1}


def test_a_variable_like_a_misspelt_setting_is_logged_and_those_of_others_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, make_metrics: Make, caplog: pytest.LogCaptureFixture
) -> None:
    others = ("PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR", "PORT_80_TCP_PROTO", "SERVICE_HOST", "SERVICE_PORT_HTTP")
    for name in (*others, "BACKND"):
        monkeypatch.setenv(f"TALLYSTICK_{name}", "tcp://10.0.0.1:80")
    make_metrics()
    remedy = "did you mean backend?; `tallystick config show` lists the settings"
    assert [record.getMessage() for record in caplog.records] == [f"TALLYSTICK_BACKND is no setting; {remedy}"]


def test_words_without_an_end_and_objects_that_hide_their_class_are_refused_as_ready_records(metrics: Metrics) -> None:
    class Proxy:
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            raise RuntimeError("no object is bound")

        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    metrics.record(Record(1, "event", "endless", "text", words=itertools.repeat("a")))  # type: ignore[arg-type]
    metrics.record(Proxy())  # type: ignore[arg-type]
    assert metrics.refused == {("tags", "endless"): 1, ("failed", ""): 1}
