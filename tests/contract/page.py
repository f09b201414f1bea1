"""The table of the documentation: which promise which backend kept, on which server, in this very run.

    TALLYSTICK_CONTRACT_TABLE=docs/reference/backends.md make test AT_ONCE=

Such a run also takes the servers that are otherwise for --thorough, and fails when a cell stays empty: a backend has
neither a test for a promise nor a reason why it does not apply. `promises.py` knows the rows, `columns.py` the columns.
A run of some columns (`-k Postgresql`) leaves the others as they are on the page.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.contract.columns import COLUMNS, column_of
from tests.contract.promises import ROWS, notes_of, promises_of, reasons_of
from tests.contract.table import Table

PLACE = os.environ.get("TALLYSTICK_CONTRACT_TABLE", "")

_table = Table(ROWS, COLUMNS)
_cells: dict[str, list[tuple[str, str, list[str]]]] = {}  # by test: row, column, what the class relaxes
_reasons: dict[tuple[str, str], str] = {}
_problem = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "promise(text): the row of the table that this test proves")
    if PLACE and config.getoption("numprocesses", None):
        raise pytest.UsageError("TALLYSTICK_CONTRACT_TABLE: one process writes the table: make test AT_ONCE=")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        cls = getattr(item, "cls", None)
        if column := column_of(item):
            _cells[item.nodeid] = [(row, column, notes_of(cls, row)) for row in promises_of(item)]
            _reasons.update({(row, column): why for row, why in reasons_of(cls).items()})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.nodeid not in _cells or (report.passed and report.when != "call"):
        return
    for row, column, notes in _cells[report.nodeid]:
        if report.passed:
            _table.passed(row, column, notes)
        elif report.skipped and isinstance(report.longrepr, tuple):
            _table.skipped(row, column, report.longrepr[2].removeprefix("Skipped: "))
        else:
            _table.failed(row, column)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not PLACE or session.config.option.collectonly:
        return
    for (row, column), why in _reasons.items():
        _table.does_not_apply(row, column, why)
    if Path(PLACE).exists():
        _table.keep(Path(PLACE).read_text(encoding="utf-8"))
    Path(PLACE).write_text(_table.markdown(), encoding="utf-8")
    session.config.stash[_problem] = _table.absent()
    if _table.absent() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if empty := config.stash.get(_problem, []):
        terminalreporter.section(f"{len(empty)} empty cells in {PLACE}", sep="-", red=True)
        for line in empty:
            terminalreporter.write_line(line)
