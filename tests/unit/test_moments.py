"""One way from a moment to nanoseconds, for records, questions and the command line."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.cli.options import _moment
from tallystick.errors import RecordError
from tallystick.moments import EPOCH, nanoseconds
from tallystick.queries import Query
from tallystick.recorder.draft import check_timestamp

microseconds = st.integers(0, 4_000_000_000 * 10**6)


@given(microseconds)
@example(1_795_253_400_000_001)
@example(1_795_253_400_123_456)
def test_whatever_names_a_moment_gives_the_same_nanoseconds(count: int) -> None:
    moment = EPOCH + timedelta(microseconds=count)
    names: list[Any] = [
        moment,
        moment.astimezone(timezone(timedelta(hours=5, minutes=45))),
        moment.isoformat(),
        moment.isoformat().removesuffix("+00:00"),
        moment.timestamp(),
        Decimal(count) / 10**6,
        _moment(str(Decimal(count) / 10**6)),
    ]
    for name in names:
        assert nanoseconds(name, "start") == count * 1_000, name
        assert check_timestamp(name) == Query(start=name).start_ns == Query(end=name).end_ns == count * 1_000


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_a_text_of_nine_digits_is_exact_as_export_writes_it(moment_ns: int) -> None:
    whole, part = divmod(moment_ns, 10**9)
    text = f"{EPOCH + timedelta(seconds=whole):%Y-%m-%dT%H:%M:%S}.{part:09}Z"
    assert nanoseconds(text, "start") == nanoseconds(text.replace("Z", "+00:00"), "start") == moment_ns
    assert nanoseconds(Decimal(moment_ns).scaleb(-9), "start") == moment_ns


def test_a_float_is_taken_to_the_microsecond_as_datetime_takes_it() -> None:
    for seconds in (1_795_253_400.1234567, 0.1, 1e-9, 1_795_253_400.9999999):
        assert nanoseconds(seconds, "t") == nanoseconds(datetime.fromtimestamp(seconds, UTC), "t")


def test_a_timestamp_of_pandas_is_exact_to_the_nanosecond() -> None:
    assert nanoseconds(pd.Timestamp(1_795_253_400_123_456_789, tz="UTC"), "t") == 1_795_253_400_123_456_789


def test_a_day_begins_at_midnight_utc() -> None:
    assert nanoseconds(date(1970, 1, 2), "t") == nanoseconds("1970-01-02", "t") == 86_400 * 10**9


@pytest.mark.parametrize(
    "wrong",
    ["", "now", "2026-13-01", EPOCH.replace(tzinfo=None), None, True, [], b"2026", {}, object(), float("nan"),
     float("inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("1E+999999"), 10**30, 1e300, 1 + 1j, np.complex64(1),
     pd.NaT, np.timedelta64(5, "s"), np.datetime64("2026-01-01"), datetime.max.replace(tzinfo=UTC)],
    ids=lambda wrong: f"{type(wrong).__name__} {wrong}"[:40].partition(" at 0x")[0],
)  # fmt: skip
def test_what_is_not_a_moment_is_refused_with_the_remedy(wrong: Any) -> None:
    with pytest.raises(RecordError, match=r"^start: .*(give|use|leave)"):
        nanoseconds(wrong, "start")
