"""What a value means, whatever library made it: a number, a span, a text.

Invariants
- Nothing is imported to judge a value: NumPy's types are known once the application has imported NumPy.
- What comes out is plain: `int`, `float`, `bool`, `str`. What has no plain meaning raises `RecordError`.
"""

from __future__ import annotations

import math
import numbers
import reprlib
import sys
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from os import PathLike, fspath
from typing import Any, Final

from tallystick.codec import MAX_INTEGER
from tallystick.errors import RecordError
from tallystick.moments import plain_datetime

UNIT_SECONDS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0,
}  # fmt: skip
"""The units that a span can be converted to; a span without a unit is in seconds."""

LONGEST_DIGITS: Final = 1_000

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def shown(value: object) -> str:
    """The value for people, in a few characters, however large it is or badly it behaves."""
    return _short.repr(value)


def typed(value: object) -> str:
    return f"of type {type(value).__name__}"


def as_bool(value: object) -> bool | None:
    """The bool that it is, also NumPy's; None for all else."""
    if isinstance(value, bool):
        return value
    numpy = sys.modules.get("numpy")
    return bool(value) if numpy is not None and isinstance(value, numpy.bool_) else None


def as_seconds(value: object, field: str) -> float | None:
    """A span in seconds: a `timedelta`, also pandas' and pendulum's, or a `timedelta64`; None for all else."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.timedelta64):
        unit = numpy.datetime_data(value.dtype)[0]
        if unit in ("generic", "Y", "M"):
            raise RecordError("type", field, f"{shown(value)} has no length in seconds; give a span in days or shorter")
        seconds = float(value / numpy.timedelta64(1, "s"))
    elif isinstance(value, timedelta):
        seconds = value.total_seconds()
    else:
        return None
    if not math.isfinite(seconds):
        raise RecordError("nan", field, f"{shown(value)} is not a span of time; leave it out")
    return seconds


def in_unit(seconds: float, unit: object, field: str) -> float:
    """A span's seconds in the unit that the record names."""
    if unit is None or unit == "s":
        return seconds
    size = UNIT_SECONDS.get(unit) if isinstance(unit, str) else None
    if size is None:
        raise RecordError(
            "type",
            field,
            f"a span of time in the unit {shown(unit)}; leave unit out, or give one of {', '.join(UNIT_SECONDS)}",
        )
    return seconds / size if size > 1 else seconds * round(1 / size)


def is_number(value: object) -> bool:
    """Whether it counts as a number, complex ones included, so that these are refused with a remedy of their own."""
    return isinstance(value, numbers.Number)


def as_number(value: Any, field: str) -> int | float:
    """A finite number. Raises `RecordError`."""
    if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
        raise RecordError("type", field, f"{shown(value)} is a complex number; give its abs(), or .real and .imag")
    if isinstance(value, numbers.Integral):
        whole = int(value)
        if not -MAX_INTEGER - 1 <= whole <= MAX_INTEGER:
            raise RecordError("range", field, "an integer that does not fit 64 bits; give a float")
        return whole
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise RecordError("type", field, f"a number {typed(value)}; give an int or a float") from None
    if not math.isfinite(number):
        raise RecordError("nan" if math.isnan(number) else "infinite", field, f"{number!r} is not finite; leave it out")
    return number


def as_scalar(value: object, field: str) -> bool | int | float | None:
    """A bool, a number or a span in seconds as Python's own; None for all else. Raises `RecordError`."""
    if (truth := as_bool(value)) is not None:
        return truth
    if (seconds := as_seconds(value, field)) is not None:
        return seconds
    return as_number(value, field) if is_number(value) else None


def lazy_text(value: object) -> str | None:
    """The text of what behaves as one: Django's, Babel's and Flask's lazy translations, UserString; else None."""
    fold = getattr(value, "casefold", None)
    if not callable(fold):
        return None
    text = str(value)
    return text if str(fold()) == text.casefold() else None  # what a mock folds to is another mock


def as_text(value: object) -> str | None:
    """The obvious text of what is not a text: dates, UUIDs, paths, addresses, lazy translations; None without one.

    A type has an obvious text when it compares by value and says itself how it reads; what holds other things
    (a list, a set, bytes) and an exception, whose text is different each time, have none.
    """
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else plain_datetime(value, "value")).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, PathLike):
        path = fspath(value)
        return path if isinstance(path, str) else None
    if (text := lazy_text(value)) is not None:
        return text
    own = type(value)
    if (
        isinstance(value, type | BaseException | Iterable)
        or own.__str__ is object.__str__
        or own.__eq__ is object.__eq__
        or own.__hash__ is None
    ):
        return None
    return str(value)


def tag_text(value: object, field: str) -> str:
    """A tag's value as the text that is stored and asked for. Raises `RecordError` for what has no obvious one."""
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, Enum):
        inner = value.value
        return tag_text(value.name if inner is None or isinstance(inner, tuple | list | dict) else inner, field)
    if (truth := as_bool(value)) is not None:
        return "true" if truth else "false"
    if (seconds := as_seconds(value, field)) is not None:
        return repr(seconds)
    if is_number(value):
        return _number_text(value, field)
    if isinstance(value, datetime) and value != value:  # noqa: PLR0124 - pandas.NaT is one
        raise RecordError("nan", field, "NaT is not a moment; leave it out")
    text = as_text(value)
    if text is None:
        raise RecordError(
            "type", field, f"a value {typed(value)}; a tag's value is a text, a number, a bool, or has an obvious text"
        )
    return text


def _number_text(value: Any, field: str) -> str:
    """All digits of a Decimal; the shortest text that means a float, also of 16 and 32 bits."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            return repr(as_number(value, field))
        if abs(value.adjusted()) > LONGEST_DIGITS:
            raise RecordError("length", field, f"a Decimal of more than {LONGEST_DIGITS} digits; give it as metadata")
        return format(value, "f")
    number = as_number(value, field)
    if isinstance(number, float) and not isinstance(value, float):
        try:
            number = float(str(value))
        except ValueError:
            return repr(number)
    return repr(number)


def negated(value: Any) -> Any:
    """What counts as much in the other direction; what is not a number or a span is given back, and refused later."""
    if (truth := as_bool(value)) is not None:
        return -int(truth)
    if (seconds := as_seconds(value, "value")) is not None:
        return -seconds
    if isinstance(value, numbers.Integral):
        return -int(value)  # an unsigned one of NumPy would wrap around
    return -value if is_number(value) else value
