"""The table of the documentation: which promise which backend kept, on which server, in this very run.

    TALLYSTICK_CONTRACT_TABLE=docs/reference/backends.md make test

Such a run also takes the servers that are otherwise for --thorough, and fails when a cell stays empty: a backend has
neither a test for a promise nor a reason why it does not apply. `promises.py` knows the rows, `columns.py` the columns.
A run of some columns (`-k Postgresql`) leaves the others as they are on the page.

A pytest plugin, named by tests/conftest.py. With pytest-xdist the tests run in other processes than the one that
writes, so what a test proves travels with its report.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest
from tests.contract.columns import COLUMNS, column_of
from tests.contract.promises import ROWS, notes_of, promises_of, reasons_of
from tests.contract.table import Table

PLACE: Final = Path(os.environ["TALLYSTICK_CONTRACT_TABLE"])
PROVES: Final = "row, column, and what the class relaxes"
WHY_NOT: Final = "row, column, and why it does not apply"

_table = Table(ROWS, COLUMNS)
_reasons: dict[tuple[str, str], str] = {}
_problem = pytest.StashKey[list[str]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        cls = getattr(item, "cls", None)
        if column := column_of(item):
            cells = [[row, column, notes_of(cls, row)] for row in sorted(promises_of(item))]
            reasons = [[row, column, why] for row, why in reasons_of(cls).items()]
            item.user_properties += [(PROVES, cells), (WHY_NOT, reasons)]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    known: dict[str, Any] = dict(report.user_properties)
    _reasons.update({(row, column): why for row, column, why in known.get(WHY_NOT, ())})
    if report.passed and report.when != "call":
        return
    for row, column, notes in known.get(PROVES, ()):
        if report.passed:
            _table.passed(row, column, notes)
        elif report.skipped and isinstance(report.longrepr, tuple):
            _table.skipped(row, column, report.longrepr[2].removeprefix("Skipped: "))
        else:
            _table.failed(row, column)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.option.collectonly or "PYTEST_XDIST_WORKER" in os.environ:
        return
    for (row, column), why in _reasons.items():
        _table.does_not_apply(row, column, why)
    if PLACE.exists():
        _table.keep(PLACE.read_text(encoding="utf-8"))
    PLACE.write_text(_table.markdown(), encoding="utf-8")
    session.config.stash[_problem] = _table.absent()
    if _table.absent() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if empty := config.stash.get(_problem, []):
        terminalreporter.section(f"{len(empty)} empty cells in {PLACE}", sep="-", red=True)
        for line in empty:
            terminalreporter.write_line(line)
