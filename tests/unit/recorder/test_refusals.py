"""Bad input: refused at the call with reason and field, counted, logged once, never raised unless strict."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.recorder.conftest import Lines

from tallystick.errors import RecordError
from tallystick.recorder import refusals
from tallystick.recorder.metrics import Metrics

Call = Callable[[Metrics], object]


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Vanished:
    """As a proxy to what is not there: even asking for its class fails."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("nothing here")


class BadError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Exploding(dict[str, str]):
    def items(self) -> Any:
        raise BadError


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def endless() -> Any:
    while True:
        yield "word"


def itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


BAD: list[tuple[str, str, str, Call]] = [
    ("nan", "value", "NaN", lambda m: m.increment("n", math.nan)),
    ("infinity", "value", "infinite", lambda m: m.gauge("n", math.inf)),
    ("a decimal that is no number", "value", "nan", lambda m: m.gauge("n", Decimal("nan"))),  # type: ignore[arg-type]
    ("a text as number", "value", "type", lambda m: m.increment("n", "3")),  # type: ignore[arg-type]
    ("None as number", "value", "type", lambda m: m.gauge("n", None)),  # type: ignore[arg-type]
    ("a complex number", "value", "type", lambda m: m.timing("n", 1j)),  # type: ignore[arg-type]
    ("more than 64 bits", "value", "range", lambda m: m.increment("n", 2**63)),
    ("less than 64 bits", "value", "range", lambda m: m.decrement("n", 2**63 + 1)),
    ("an event of bytes", "value", "type", lambda m: m.event("n", b"text")),  # type: ignore[arg-type]
    ("an event with a NUL", "value", "nul", lambda m: m.event("n", "a\0b")),
    ("an event with a surrogate", "value", "surrogate", lambda m: m.event("n", "a\ud800b")),
    ("an event of 30 MB", "value", "too_large", lambda m: m.event("n", "x" * 30_000_000)),
    ("an event that is too long as a line", "value", "too_large", lambda m: m.event("n", "ü" * 200_000)),
    ("no name", "name", "length", lambda m: m.increment("")),
    ("a name of 256 characters", "name", "length", lambda m: m.increment("n" * 256)),
    ("a name of 30 MB", "name", "length", lambda m: m.increment("n" * 30_000_000)),
    ("bytes as name", "name", "type", lambda m: m.increment(b"n")),  # type: ignore[arg-type]
    ("None as name", "name", "type", lambda m: m.increment(None)),  # type: ignore[arg-type]
    ("a name with a NUL", "name", "nul", lambda m: m.increment("a\0")),
    ("a name with a surrogate", "name", "surrogate", lambda m: m.increment("a\udfff")),
    ("an object of no repr as value", "value", "type", lambda m: m.gauge("n", Unprintable())),  # type: ignore[arg-type]
    ("a proxy to nothing as name", "record", "failed", lambda m: m.increment(Vanished())),  # type: ignore[arg-type]
    ("tags that fail", "record", "failed", lambda m: m.increment("n", tags=Exploding(a="b"))),
    ("a text as tags", "tags", "type", lambda m: m.increment("n", tags="a")),
    ("a number as tags", "tags", "type", lambda m: m.increment("n", tags=5)),  # type: ignore[arg-type]
    ("a tag's value of bytes", "tags['k']", "type", lambda m: m.increment("n", tags={"k": b"x"})),
    ("a tag's value of a list", "tags['k']", "type", lambda m: m.increment("n", tags={"k": ["x"]})),
    ("a tag's value of NaN", "tags['k']", "nan", lambda m: m.increment("n", tags={"k": math.nan})),
    ("a tag's value without a text", "tags['k']", "type", lambda m: m.increment("n", tags={"k": object()})),
    ("a tag's value too long", "tags['k']", "length", lambda m: m.increment("n", tags={"k": "x" * 1001})),
    ("a tag's key of a number", "tags key", "type", lambda m: m.increment("n", tags={1: "x"})),  # type: ignore[dict-item]
    ("a tag's key empty", "tags key", "length", lambda m: m.increment("n", tags={"": "x"})),
    ("65 tags", "tags", "tags", lambda m: m.increment("n", tags={f"k{i}": "v" for i in range(65)})),
    ("65 words", "tags", "tags", lambda m: m.increment("n", tags=[f"w{i}" for i in range(65)])),
    ("words without end", "tags", "tags", lambda m: m.increment("n", tags=endless())),
    ("a word of bytes", "tags[1]", "type", lambda m: m.increment("n", tags=["a", b"b"])),  # type: ignore[list-item]
    ("bytes as words", "tags[0]", "type", lambda m: m.increment("n", tags=b"ab")),  # type: ignore[arg-type]
    ("an object in a document", "value['a'][1]", "type", lambda m: m.custom("n", "k", {"a": [1, object()]})),
    ("bytes in a document", "value['a']", "type", lambda m: m.custom("n", "k", {"a": b"x"})),
    ("a set as document", "value", "type", lambda m: m.custom("n", "k", {1, 2})),  # type: ignore[arg-type]
    ("a number as key", "value", "key", lambda m: m.custom("n", "k", {1: "x"})),  # type: ignore[dict-item]
    ("a key with a surrogate", "value key", "surrogate", lambda m: m.custom("n", "k", {"\ud800": 1})),
    ("17 levels", "value" + "[0]" * 16, "depth", lambda m: m.custom("n", "k", nested(17))),
    ("a list in itself", "value" + "[0]" * 16, "depth", lambda m: m.custom("n", "k", itself())),
    ("1,001 items", "value", "keys", lambda m: m.custom("n", "k", list(range(1_001)))),
    ("1,001 keys in all", "value['b']", "keys", lambda m: m.custom("n", "k", {"a": [0] * 500, "b": [0] * 500})),
    ("a naive date in a document", "value['t']", "naive", lambda m: m.custom("n", "k", {"t": datetime(2025, 1, 1)})),  # noqa: DTZ001
    ("no kind", "kind", "length", lambda m: m.custom("n", "", 1)),
    ("an empty id", "id_", "length", lambda m: m.custom("n", "k", 1, id_="")),
    ("a number as id", "id_", "type", lambda m: m.custom("n", "k", 1, id_=7)),  # type: ignore[arg-type]
    ("a naive timestamp", "timestamp", "naive", lambda m: m.increment("n", timestamp=datetime(2025, 1, 1))),  # noqa: DTZ001
    ("milliseconds as timestamp", "timestamp", "timestamp", lambda m: m.increment("n", timestamp=1.7e12)),
    ("a time before 1970", "timestamp", "timestamp", lambda m: m.increment("n", timestamp=-1)),
    ("a text as timestamp", "timestamp", "timestamp", lambda m: m.increment("n", timestamp="now")),
    ("a bool as timestamp", "timestamp", "type", lambda m: m.increment("n", timestamp=True)),
    ("a list as metadata", "metadata", "type", lambda m: m.gauge("n", 1, metadata=[1])),  # type: ignore[arg-type]
    ("an object in metadata", "metadata['a']", "type", lambda m: m.gauge("n", 1, metadata={"a": object()})),
    ("an empty unit", "unit", "length", lambda m: m.timing("n", 1, unit="")),
    ("a unit of 65 characters", "unit", "length", lambda m: m.timing("n", 1, unit="u" * 65)),
    ("a sample rate of 0", "sample_rate", "sample_rate", lambda m: m.increment("n", sample_rate=0)),
    ("a sample rate above 1", "sample_rate", "sample_rate", lambda m: m.increment("n", sample_rate=1.5)),
    ("a sample rate of NaN", "sample_rate", "sample_rate", lambda m: m.increment("n", sample_rate=math.nan)),
    ("no record", "record", "type", lambda m: m.record("x")),  # type: ignore[arg-type]
]
BAD = [(what, field, "nan" if reason == "NaN" else reason, call) for what, field, reason, call in BAD]
each_bad = pytest.mark.parametrize(("field", "reason", "call"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])


@each_bad
def test_bad_input_is_refused_counted_and_not_raised(
    metrics: Metrics, lines: Lines, field: str, reason: str, call: Call
) -> None:
    call(metrics)
    assert lines.raw == []
    ((counted_as, _),) = metrics.refused
    assert counted_as == reason
    assert sum(metrics.refused.values()) == 1


@each_bad
def test_strict_raises_a_record_error_that_names_field_reason_and_remedy(
    make_metrics: Callable[..., Metrics], field: str, reason: str, call: Call
) -> None:
    with pytest.raises(RecordError) as raised:
        call(make_metrics(strict=True))
    assert (raised.value.reason, raised.value.field) == (reason, field)
    assert str(raised.value).startswith(f"{field}: ")
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("call", [lambda m: m.counter("n").inc("a"), lambda m: m.counter("n").dec("a")])
def test_a_handle_refuses_bad_input_like_any_call(metrics: Metrics, lines: Lines, call: Call) -> None:
    call(metrics)
    assert lines.raw == []
    assert metrics.refused == {("type", "n"): 1}


def test_what_was_accepted_before_a_refusal_is_kept(home: Path) -> None:
    metrics = Metrics(home=home, deliver="off")
    for number in range(5):
        metrics.increment("good", number)
        for _, _, _, call in BAD[:20]:
            call(metrics)
    metrics.close()
    segments = sorted((home / "default" / "segments").glob("*.jsonl"))
    assert sum(segment.read_bytes().count(b'"good"') for segment in segments) == 5


def test_a_refusal_is_logged_at_most_once_in_ten_seconds_for_each_reason(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(refusals, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with caplog.at_level(logging.WARNING):
        for step in range(100):  # 25 seconds
            clock.now = 1000 + step / 4
            metrics.increment("one", math.nan)
            metrics.increment("two", "x")  # type: ignore[arg-type]
    messages = [record.getMessage() for record in caplog.records]
    assert len([message for message in messages if "not finite" in message]) == 3
    assert len([message for message in messages if "takes a number" in message]) == 3
    assert len(messages) == 6
    assert "of one" in messages[0]
    assert "39 more of this kind" in messages[2]
    assert sum(metrics.refused.values()) == 200


@pytest.mark.parametrize("where", ["document", "metadata", "tag", "list"])
@pytest.mark.parametrize("secret", [b"hunter2", "hunter2\0", "hunter2\ud800", ["hunter2", object()]])
def test_a_refusal_never_shows_a_value_that_may_be_a_secret(
    metrics: Metrics, caplog: pytest.LogCaptureFixture, where: str, secret: Any
) -> None:
    match where:
        case "document":
            metrics.custom("login", "form", {"password": secret})
        case "metadata":
            metrics.increment("login", metadata={"password": secret})
        case "tag":
            metrics.increment("login", tags={"token": secret})
        case "list":
            metrics.custom("login", "form", {"secrets": [secret]})
    assert metrics.refused
    assert "hunter2" not in caplog.text


def test_names_in_counts_are_printable_and_short(metrics: Metrics) -> None:
    metrics.increment("n" * 300)
    metrics.increment("a\ud800\0b", math.nan)
    metrics.increment(object())  # type: ignore[arg-type]
    names = {name for _, name in metrics.refused}
    assert names == {"n" * 64, "a??b", "<object>"}
