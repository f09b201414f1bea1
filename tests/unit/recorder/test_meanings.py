"""What values of others' types mean: NumPy, pandas, pendulum, Django, Babel and the standard library."""

from __future__ import annotations

import collections
import enum
import ipaddress
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any

import django.utils.functional
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pendulum
import pytest
from babel.support import LazyProxy
from freezegun.api import FakeDatetime
from tests.unit.recorder.conftest import Lines
from tests.unit.recorder.test_what_is_recorded import records

from tallystick.errors import RecordError
from tallystick.recorder.metrics import Metrics

translated = django.utils.functional.lazy(lambda: "Übersicht", str)

FIVE_SECONDS: list[Any] = [
    timedelta(seconds=5),
    np.timedelta64(5, "s"),
    np.timedelta64(5_000, "ms"),
    np.timedelta64(5_000_000_000, "ns"),
    pd.Timedelta(seconds=5),
    pd.Series(pd.to_timedelta(["5s"])).to_numpy()[0],
    pendulum.duration(seconds=5),
]


@pytest.mark.parametrize("span", FIVE_SECONDS, ids=lambda span: f"{type(span).__module__}.{span!r}")
def test_a_span_of_time_is_recorded_in_seconds_or_in_the_unit_that_is_named(
    metrics: Metrics, lines: Lines, span: Any
) -> None:
    metrics.timing("t", span)
    metrics.timing("t", span, unit="ms")
    metrics.timing("t", span, unit="min")
    metrics.gauge("g", span)
    metrics.decrement("c", span)
    metrics.timer("t").record(span)
    metrics.custom("d", "kind", {"took": span})
    assert [record.value for record in records(lines)] == [5.0, 5000.0, 5 / 60, 5.0, -5.0, 5.0, {"took": 5.0}]


@pytest.mark.parametrize(
    ("span", "unit"),
    [
        (timedelta(seconds=5), "bytes"),
        (np.timedelta64("NaT"), None),
        (np.timedelta64("NaT", "s"), None),
        (np.timedelta64(1, "Y"), None),
        (np.timedelta64(5), None),
    ],
)
def test_a_span_without_a_length_in_seconds_is_refused(
    make_metrics: Callable[..., Metrics], span: Any, unit: str | None
) -> None:
    with pytest.raises(RecordError, match=r"^value: .*(give|leave)"):
        make_metrics(strict=True).timing("t", span, unit=unit)


@pytest.mark.parametrize("value", [1 + 5j, np.complex64(1 + 5j), np.complex128(1 + 5j)])
def test_a_complex_number_is_refused_with_the_remedy_and_loses_no_part(
    make_metrics: Callable[..., Metrics], value: Any
) -> None:
    metrics = make_metrics(strict=True)
    calls: list[Callable[[], None]] = [
        lambda: metrics.gauge("g", value),
        lambda: metrics.custom("d", "kind", {"z": value}),
        lambda: metrics.increment("n", tags={"z": value}),
    ]
    for call in calls:
        with pytest.raises(RecordError, match=r"complex number; give its abs\(\)"):
            call()


def test_a_bool_of_numpy_is_a_bool(metrics: Metrics, lines: Lines) -> None:
    yes: Any = np.bool_(True)
    metrics.gauge("up", yes)
    metrics.increment("n", yes)
    metrics.decrement("n", yes)
    metrics.custom("d", "kind", {"ok": yes, "all": [np.bool_(False)]})
    metrics.increment("n", tags={"ok": yes})
    up, more, less, document, tagged = records(lines)
    assert (up.value, more.value, less.value) == (True, 1, -1)
    assert type(up.value) is bool
    assert document.value == {"ok": True, "all": [False]}
    assert tagged.tags == {"ok": "true"}


class Plan(enum.Enum):
    PRO = "pro"
    BOTH = ("pro", "free")


class Level(enum.IntEnum):
    HIGH = 3


ID = uuid.UUID("2b75d750-0000-4000-8000-000000000001")
TEXTS: list[tuple[Any, str]] = [
    (ID, str(ID)),
    (date(2026, 11, 21), "2026-11-21"),
    (time(9, 30), "09:30:00"),
    (datetime(2026, 11, 21, 9, 30, tzinfo=timezone(timedelta(hours=1))), "2026-11-21T08:30:00+00:00"),
    (Path("/srv/shop"), "/srv/shop"),
    (PurePosixPath("a/b"), "a/b"),
    (Plan.PRO, "pro"),
    (Plan.BOTH, "BOTH"),
    (Level.HIGH, "3"),
    (HTTPStatus.NOT_FOUND, "404"),
    (ipaddress.ip_address("10.0.0.7"), "10.0.0.7"),
    (translated(), "Übersicht"),
    (LazyProxy(lambda: "Übersicht"), "Übersicht"),
    (collections.UserString("Übersicht"), "Übersicht"),
    (Decimal(9007199254740993), "9007199254740993"),
    (Decimal(5), "5"),
    (Decimal("1E+3"), "1000"),
    (Decimal("0.10"), "0.10"),
    (Decimal("1E-7"), "0.0000001"),
    (np.float32(0.1), "0.1"),
    (np.float16(0.1), "0.1"),
    (np.float64(0.1), "0.1"),
    (np.int64(5), "5"),
    (Fraction(1, 4), "0.25"),
    (timedelta(seconds=5), "5.0"),
]


@pytest.mark.parametrize(("value", "text"), TEXTS, ids=lambda one: f"{type(one).__name__} {one}")
def test_a_tag_whose_value_has_an_obvious_text_becomes_that_text(
    metrics: Metrics, lines: Lines, value: Any, text: str
) -> None:
    for _ in range(2):  # the second time, the short way is there
        metrics.increment("n", tags={"k": value})
    metrics.bind(tags={"k": value}).increment("n")
    assert [record.tags for record in records(lines)] == [{"k": text}] * 3


@pytest.mark.parametrize(
    "value",
    [object(), b"bytes", [1], {"a"}, ValueError("x"), Metrics, print, Decimal("NaN"), Decimal("1E+5000"), pd.NaT],
    ids=lambda wrong: f"{type(wrong).__name__} {wrong}"[:40].partition(" at 0x")[0],
)
def test_a_tag_whose_value_has_no_obvious_text_is_refused(make_metrics: Callable[..., Metrics], value: Any) -> None:
    with pytest.raises(RecordError, match=r"^tags\['k'\]: "):
        make_metrics(strict=True).increment("n", tags={"k": value})


def test_a_document_takes_what_json_has_an_obvious_text_for(metrics: Metrics, lines: Lines) -> None:
    given = {
        "id": ID,
        "day": date(2026, 11, 21),
        "at": time(9),
        "path": Path("/srv"),
        "plan": Plan.PRO,
        "l": Level.HIGH,
    }
    given |= {"title": translated(), "from": ipaddress.ip_address("::1"), "price": Decimal("1.50"), "both": Plan.BOTH}
    taken = {"id": str(ID), "day": "2026-11-21", "at": "09:00:00", "path": "/srv", "plan": "pro", "l": 3}
    taken |= {"title": "Übersicht", "from": "::1", "price": 1.5, "both": ["pro", "free"]}
    metrics.custom("d", "kind", given)
    metrics.increment("n", metadata=given)
    metrics.event("e", translated())
    document, counted, event = records(lines)
    assert document.value == counted.metadata == taken
    assert event.value == "Übersicht"


NOON = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
SUBCLASSES: list[Any] = [
    type("Stamp", (datetime,), {})(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC),
    pd.Timestamp("2026-01-01 13:00:00.123456", tz="Europe/Berlin"),
    pendulum.datetime(2026, 1, 1, 13, 0, 0, 123456, tz="Europe/Berlin"),
    FakeDatetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC),
]


@pytest.mark.parametrize("moment", SUBCLASSES, ids=lambda moment: type(moment).__name__)
def test_a_moment_of_a_subclass_of_datetime_is_the_moment_that_it_is(
    metrics: Metrics, lines: Lines, moment: Any
) -> None:
    metrics.custom("order", "placed", {"at": moment})
    metrics.custom("order", "placed", moment)
    metrics.increment("order", metadata={"at": moment}, timestamp=moment)
    document, value, counted = records(lines)
    assert document.value == {"at": NOON}
    assert value.value == NOON
    assert counted.metadata == {"at": "2026-01-01T12:00:00.123456Z"}
    assert counted.timestamp_ns == 1_767_268_800_123_456_000


@pytest.mark.parametrize("moment", [pd.NaT, pd.Timestamp("2026-01-01"), pendulum.naive(2026, 1, 1)], ids=repr)
def test_a_moment_that_is_none_or_has_no_zone_is_refused(make_metrics: Callable[..., Metrics], moment: Any) -> None:
    metrics = make_metrics(strict=True)
    calls: list[Callable[[], None]] = [
        lambda: metrics.custom("n", "kind", {"at": moment}),
        lambda: metrics.increment("n", timestamp=moment),
    ]
    for call in calls:
        with pytest.raises(RecordError, match=r"NaT|time zone"):
            call()
