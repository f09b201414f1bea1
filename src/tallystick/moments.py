"""The one way from a moment to nanoseconds, for records, questions, pruning and the command line.

A moment is epoch seconds, an aware datetime, or an ISO 8601 text (in UTC unless it names a zone). Whatever names the
same moment gives the same nanoseconds, so a record is in the range that begins with its own time.

- Datetimes, whole numbers, Decimals and texts are exact, to the ninth digit where they have it.
- A float is taken to the microsecond, which is as far as a double of today's seconds reaches, and as
  `datetime.fromtimestamp` takes it.
- `EPOCH` is a plain datetime whatever the application did to the class (freezegun replaces it): arithmetic with it
  stays plain.
"""

from __future__ import annotations

import math
import numbers
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final, TypeAlias

from tallystick.errors import RecordError

SECOND_NS: Final = 1_000_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER_SECONDS: Final = 9_000_000_000
"""Moments are less than this (285 years) from 1970, so that as nanoseconds they fit 64 bits."""

Moment: TypeAlias = float | Decimal | str | datetime | date

_PRECISE: Final = Context(prec=60)
_FINE: Final = r"(.*[.,]\d{6})(\d+)(.*)"
_REMEDY: Final = "give epoch seconds, an aware datetime, or an ISO 8601 text such as 2026-11-21T09:30:00+00:00"


def nanoseconds(moment: Any, field: str) -> int:
    """Nanoseconds since 1970 in UTC. Raises `RecordError` for what is not a moment within 285 years of 1970."""
    if isinstance(moment, str):
        found = _of_text(moment, field)
    elif isinstance(moment, datetime):
        found = _of_datetime(moment, field)
    elif isinstance(moment, date):
        found = _of_datetime(EPOCH + (date(moment.year, moment.month, moment.day) - EPOCH.date()), field)
    elif isinstance(moment, numbers.Number) and not isinstance(moment, bool):
        found = _of_number(moment, field)
    else:
        raise RecordError("type", field, f"a value of type {type(moment).__name__}; {_REMEDY}")
    if abs(found) >= FOREVER_SECONDS * SECOND_NS:
        raise RecordError("timestamp", field, f"a moment more than 285 years from 1970; {_REMEDY}")
    return found


def epoch_seconds(moment_ns: int) -> float:
    """Epoch seconds for people and points; not a way back to nanoseconds."""
    return moment_ns / SECOND_NS


def plain_datetime(moment: datetime, field: str) -> datetime:
    """The same moment as a plain datetime in UTC, whatever class it has. Raises `RecordError` for a naive one."""
    return EPOCH + _since_epoch(moment, field)


def _since_epoch(moment: datetime, field: str) -> timedelta:
    if moment != moment:  # noqa: PLR0124 - pandas.NaT
        raise RecordError("nan", field, "NaT is not a moment; leave it out")
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise RecordError("naive", field, f"{moment!r} has no time zone; use datetime.now(timezone.utc)")
    delta: timedelta = type(EPOCH).__sub__(moment, EPOCH)
    return delta


def _of_datetime(moment: datetime, field: str) -> int:
    delta = _since_epoch(moment, field)
    beyond = getattr(moment, "nanosecond", 0)  # of pandas
    whole = (delta.days * 86_400 + delta.seconds) * SECOND_NS + delta.microseconds * 1_000
    return whole + (beyond if isinstance(beyond, int) else 0)


def _of_text(text: str, field: str) -> int:
    fine = re.fullmatch(_FINE, text, re.DOTALL)
    try:
        moment = datetime.fromisoformat(fine[1] + fine[3] if fine else text)
    except ValueError:
        raise RecordError("timestamp", field, f"{text[:80]!r} is not an ISO 8601 time; {_REMEDY}") from None
    whole = _of_datetime(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC), field)
    return whole + (int(fine[2][:3].ljust(3, "0")) if fine else 0)


def _of_number(number: Any, field: str) -> int:
    try:
        if getattr(getattr(number, "dtype", None), "kind", "") == "m":
            raise TypeError(number)  # NumPy's spans count as whole numbers
        if isinstance(number, numbers.Integral):
            return int(number) * SECOND_NS
        if isinstance(number, Decimal):
            # A huge exponent is asked for first: its integer would not fit the memory.
            return int(_PRECISE.multiply(number, SECOND_NS)) if number.adjusted() < 12 else FOREVER_SECONDS * SECOND_NS
        if isinstance(number, numbers.Complex) and not isinstance(number, numbers.Real):
            raise TypeError(number)
        part, whole = math.modf(float(number))
        return int(whole) * SECOND_NS + round(part * 1_000_000) * 1_000
    except (TypeError, ValueError, ArithmeticError):
        raise RecordError("type", field, f"{number!r:.80} is not a moment; {_REMEDY}") from None
