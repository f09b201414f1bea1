"""Terms of ReQL that take data and give data."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.rethinkdb.data import LOGIC, MISSING, Failure, compared, printed, shown, type_name


def true(value: Any) -> bool:
    return value is not None and value is not False


def attribute(found: Any, key: str) -> Any:
    if not isinstance(found, dict):
        code = MISSING if found is None else LOGIC
        raise Failure(code, f"Cannot perform bracket on a non-object non-sequence `{printed(shown(found))}`.")
    if key not in found:
        raise Failure(MISSING, lambda: f"No attribute `{key}` in object:\n{printed(shown(found))}")
    return found[key]


def expected(value: Any, name: str) -> Any:
    if type_name(value) != name:
        code = MISSING if value is None else LOGIC
        raise Failure(code, f"Expected type {name} but found {type_name(value)}.")
    return value


def finite(value: float) -> float:
    if not math.isfinite(value):
        raise Failure(LOGIC, f"Non-finite number: {value}")
    return value


def whole(value: Any) -> int:
    number = expected(value, "NUMBER")
    if not number.is_integer() or abs(number) > 2**53:
        raise Failure(LOGIC, f"Number not an integer: {number:.20g}")
    return int(number)


def added(first: Any, *others: Any) -> Any:
    name = "STRING" if isinstance(first, str) else "NUMBER"
    total = expected(first, name)
    for other in others:
        total = total + expected(other, name)
    return finite(total) if name == "NUMBER" else total


def arithmetic(work: Callable[[float, float], float]) -> Callable[..., float]:
    def run(first: Any, *others: Any) -> float:
        total = expected(first, "NUMBER")
        for other in others:
            if work is divided and expected(other, "NUMBER") == 0:
                raise Failure(LOGIC, "Cannot divide by zero.")
            total = finite(work(total, expected(other, "NUMBER")))
        return float(total)

    return run


def divided(one: float, other: float) -> float:
    return one / other


def remainder(one: Any, other: Any) -> float:
    """As in C: of the sign of the first."""
    if whole(other) == 0:
        raise Failure(LOGIC, "Cannot take a number modulo 0.")
    return math.fmod(whole(one), whole(other))


def chained(fits: Callable[[int], bool]) -> Callable[..., bool]:
    def run(*values: Any) -> bool:
        return all(fits(compared(one, other)) for one, other in itertools.pairwise(values))

    return run


def matched(text: Any, pattern: str) -> Any:
    """RE2's `$` is the very end; Python's is not."""
    ours = pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern
    found = re.search(ours, expected(text, "STRING"))
    if found is None:
        return None
    return {"start": float(found.start()), "end": float(found.end()), "str": found[0], "groups": []}


def coerced(value: Any, kind: str) -> Any:
    if kind == "string":
        return value if isinstance(value, str) else json.dumps(shown(value))
    if kind == "number" and isinstance(value, str):
        return float(value)
    raise Failure(LOGIC, f"Cannot coerce {type_name(value)} to {kind.upper()}.")


def time_of(seconds: Any) -> dict[str, Any]:
    return {"$reql_type$": "TIME", "epoch_time": expected(seconds, "NUMBER"), "timezone": "+00:00"}


def read_time(text: str, default_timezone: str = "") -> dict[str, Any]:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None and not default_timezone:
        raise Failure(LOGIC, f"ISO 8601 string has no time zone, and no default time zone was provided: {text}")
    return time_of((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def last_true(*values: Any) -> Any:
    return next((value for value in values if not true(value)), values[-1])


def first_true(*values: Any) -> Any:
    return next((value for value in values if true(value)), values[-1])


def rounded(number: Any) -> float:
    """Halves away from zero, as C does."""
    return math.copysign(math.floor(abs(expected(number, "NUMBER")) + 0.5), number)


TERMS: dict[int, Callable[..., Any]] = {
    17: chained(lambda way: way == 0),
    18: lambda *values: not chained(lambda way: way == 0)(*values),
    19: chained(lambda way: way < 0),
    20: chained(lambda way: way <= 0),
    21: chained(lambda way: way > 0),
    22: chained(lambda way: way >= 0),
    23: lambda value: not true(value),
    24: added,
    25: arithmetic(lambda one, other: one - other),
    26: arithmetic(lambda one, other: one * other),
    27: arithmetic(divided),
    28: remainder,
    52: type_name,
    66: first_true,
    67: last_true,
    97: matched,
    99: read_time,
    101: time_of,
    102: lambda time: expected(time, "PTYPE<TIME>")["epoch_time"],
    183: lambda number: float(math.floor(expected(number, "NUMBER"))),
    185: rounded,
}
