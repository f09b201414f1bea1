"""The page of verdicts says what the backends do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tallystick.backends.clickhouse import connection as clickhouse
from tallystick.backends.mongodb import connection as mongodb
from tallystick.backends.postgresql import connection as postgresql

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "verdicts.md"


@pytest.mark.parametrize(
    ("backend", "blaming"),
    [
        ("PostgreSQL", postgresql._BLAMES_THE_RECORD),
        ("MongoDB", map(str, mongodb.BLAMES_THE_RECORD)),
        ("ClickHouse", map(str, clickhouse._BLAMES_THE_RECORD)),
    ],
)
def test_the_page_of_verdicts_names_each_code_that_may_reject(backend: str, blaming: object) -> None:
    (row,) = (line for line in PAGE.read_text().splitlines() if line.startswith(f"| {backend} |"))
    cell = row.split("|")[2]
    named = set(re.findall(r"\b(?:\d{1,5}|P0)\b", cell))
    assert named == set(blaming)  # type: ignore[call-overload]
