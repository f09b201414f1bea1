"""The table of the documentation: which part of the contract which backend kept, on which server, in this very run.

    TALLYSTICK_CONTRACT_TABLE=docs/reference/backends.md python -m pytest tests/contract

A class of the contract is a column (its `title`, else its name), a test is a row; `✓` passed, `✗` failed, `–` is a test
that the class lacks because its store cannot do that by its nature.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest
from tests.contract.faults import FaultContract

from tallystick.testing.base import Contract

_INTRODUCTION = """\
# Backends and the contract

Written by a run of `tests/contract`, not by hand: `✓` kept on the real server, `✗` not kept, `–` does not apply.

"""

_columns: dict[str, str] = {}
_results: defaultdict[str, dict[str, str]] = defaultdict(dict)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        cls = getattr(item, "cls", None)
        if cls is not None and issubclass(cls, Contract | FaultContract):
            _columns[item.nodeid] = getattr(
                cls, "title", cls.__name__.removeprefix("Test").removesuffix("OnABadNetwork")
            )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    column = _columns.get(report.nodeid)
    if column is None or (report.passed and report.when != "call"):
        return
    row = report.nodeid.rpartition("::")[2].partition("[")[0].removeprefix("test_").replace("_", " ")
    mark = "✓" if report.passed else "–" if report.skipped else "✗"
    if _results[row].get(column) != "✗":
        _results[row][column] = mark


def pytest_sessionfinish() -> None:
    place = os.environ.get("TALLYSTICK_CONTRACT_TABLE")
    if not place or not _results:
        return
    columns = sorted({column for row in _results.values() for column in row})
    lines = [f"| what is kept | {' | '.join(columns)} |", f"|---|{':-:|' * len(columns)}"]
    for row, marks in _results.items():
        lines.append(f"| {row} | {' | '.join(marks.get(column, '–') for column in columns)} |")
    Path(place).write_text(_INTRODUCTION + "\n".join(lines) + "\n", encoding="utf-8")
