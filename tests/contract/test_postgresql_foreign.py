"""Tables of others in PostgreSQL with odd rows: what is no time, or no number, makes no question fail."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.services import service

from tallystick.backends.base import Foreign
from tallystick.backends.postgresql import PostgresqlBackend
from tallystick.errors import QueryError
from tallystick.queries import AGGREGATES, Query

pytestmark = pytest.mark.service("postgresql")

_numbers = itertools.count()

NOON = 1_763_726_400
"""2025-11-21 12:00 UTC, in seconds."""


class Theirs:
    """A table with a column `moment` and a column `amount`."""

    def __init__(self, connection: Any) -> None:
        self.name = f"theirs_{os.getpid()}_{next(_numbers)}"
        self.connection = connection
        self.backend = PostgresqlBackend.from_url(service("postgresql"))

    def fill(self, moment: str, amount: str, rows: list[tuple[Any, Any]]) -> None:
        self.connection.execute(
            f"DROP TABLE IF EXISTS {self.name}; CREATE TABLE {self.name} (moment {moment}, amount {amount})"
        )
        self.connection.cursor().executemany(f"INSERT INTO {self.name} VALUES (%s, %s)", rows)

    def ask(self, unit: Any = "native", **query: Any) -> list[tuple[float, float]]:
        foreign = Foreign(source=self.name, time="moment", value="amount", time_unit=unit)
        found = self.backend.query_foreign(Query(**{"aggregate": "sum", **query}), foreign)
        return found[0].points if found else []


@pytest.fixture
def theirs() -> Iterator[Theirs]:
    with psycopg.connect(service("postgresql"), autocommit=True) as connection:
        made = Theirs(connection)
        yield made
        connection.execute(f"DROP TABLE IF EXISTS {made.name}")


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_time_that_64_bits_of_nanoseconds_do_not_hold_is_passed_over(
    theirs: Theirs, kind: str, aggregate: str
) -> None:
    odd = ["infinity", "-infinity", "0001-01-01 BC", "1600-01-01", "5000-01-01", None]
    good = [("2025-11-21", 2), ("1700-01-01", 2), ("2262-01-01", 2)]
    theirs.fill(kind, "integer", good)
    wanted = theirs.ask(aggregate=aggregate, bucket="1d")
    theirs.fill(kind, "integer", [*((moment, 5) for moment in odd), *good])
    assert theirs.ask(aggregate=aggregate, bucket="1d") == wanted
    assert len(wanted) == 3
    assert theirs.ask(aggregate="count", start=NOON - 86_400, end=NOON) == [(NOON - 86_400, 1.0)]


ISO = {
    "2025-11-21T12:00:00Z": True,
    "2025-11-21 12:00:00+00": True,
    "2025-11-21 13:00:00.000+01:00": True,
    "2025-11-21 12:00 UTC": True,
    "2024-02-29": True,
    "2025-02-29": False,
    "2025-13-01": False,
    "2025-11-31T00:00:00": False,
    "0000-01-01": False,
    "2025-11-21 25:00": False,
    "2025-11-21T12:00:00+99:00": False,
    "0001-01-01": False,
    "infinity": False,
    "no": False,
    "": False,
}


@pytest.mark.parametrize("text", ISO)
def test_a_text_that_is_no_time_is_passed_over(theirs: Theirs, text: str) -> None:
    theirs.fill("text", "integer", [(text, 2), ("2025-11-21T12:00:00Z", 3)])
    assert theirs.ask("iso") == [(0.0, 5.0 if ISO[text] else 3.0)]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", ["bigint", "numeric", "double precision", "real", "text"])
def test_a_number_that_is_no_time_in_range_is_passed_over(theirs: Theirs, kind: str, unit: str) -> None:
    good = {"s": 1, "ms": 1_000, "us": 10**6, "ns": 10**9}[unit]
    odd: list[Any] = [2**63 - 1, -(2**63)] if kind == "bigint" else ["NaN", "1e30", "-1e30"]
    if kind in ("text", "double precision", "real", "numeric"):
        odd += ["Infinity", "-Infinity"]
    if kind == "text":
        odd += ["", "abc", "1e9999", "12 ms"]
    theirs.fill(kind, "integer", [*((moment, 100) for moment in odd), (good, 2), (None, 100)])
    assert theirs.ask(unit) == [(0.0, 2.0)]


@pytest.mark.parametrize(
    ("kind", "odd"),
    [
        (
            "text",
            ["abc", "", "NaN", "Infinity", "1e999", "1e-999", "0x10", "true", "1 2", "٣", "-", ".", "e5", "9" * 400],
        ),
        ("varchar(20)", ["abc", "12 ms"]),
        ("char(9)", ["abc"]),
        ("double precision", ["NaN", "Infinity", "-Infinity"]),
        ("real", ["NaN", "Infinity", "-Infinity"]),
        ("numeric", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400"]),
    ],
)
def test_a_value_that_is_no_number_counts_as_none(theirs: Theirs, kind: str, odd: list[str]) -> None:
    theirs.fill("timestamptz", kind, [("2025-11-21", value) for value in [*odd, "-1.5", "4", None]])
    for aggregate, wanted in {"sum": 2.5, "mean": 1.25, "min": -1.5, "max": 4.0, "p50": -1.5}.items():
        assert theirs.ask(aggregate=aggregate) == [(0.0, wanted)]
    assert theirs.ask(aggregate="count") == [(0.0, len(odd) + 3.0)], "a row is a row"


def test_texts_that_are_numbers_count_as_numbers(theirs: Theirs) -> None:
    texts = ["12", "-3e1", " 0.5 ", "1.", ".5", "+4", "1E+2", "1e-99"]
    theirs.fill("timestamptz", "text", [("2025-11-21", text) for text in texts])
    ((_, total),) = theirs.ask()
    assert total == pytest.approx(sum(map(float, texts)))


@pytest.mark.parametrize(
    ("kind", "unit", "remedy"),
    [
        ("bigint", "native", "time_unit=ms"),
        ("numeric", "iso", "time_unit=ms"),
        ("double precision", "native", "time_unit=ms"),
        ("text", "native", "time_unit=iso"),
        ("timestamptz", "ms", "time_unit=native"),
        ("date", "s", "time_unit=native"),
    ],
)
def test_a_unit_that_does_not_fit_the_column_is_named_with_the_one_that_does(
    theirs: Theirs, kind: str, unit: str, remedy: str
) -> None:
    theirs.fill(kind, "integer", [])
    with pytest.raises(QueryError, match=rf"{theirs.name}.*'moment'.*--column {remedy}.*Foreign\(time_unit="):
        theirs.ask(unit)


def test_a_double_in_seconds_keeps_its_microseconds(theirs: Theirs) -> None:
    theirs.fill("double precision", "integer", [(NOON + 0.123456, 1)])
    assert theirs.ask("s", start=NOON + 0.123455, end=NOON + 0.123457) == [(NOON + 0.123455, 1.0)]
    assert theirs.ask("s", start=NOON + 0.123457) == []
