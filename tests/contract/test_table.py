"""The table of the documentation tells what happened, and leaves no cell empty in silence."""

from __future__ import annotations

import pytest
from tests.contract.columns import COLUMNS, column_of
from tests.contract.faults import CrashContract, FaultContract
from tests.contract.promises import ROWS, notes_of, reasons_of, text_of
from tests.contract.table import Table
from tests.contract.test_backends import TestMemory as Memory

from tallystick.testing import BackendContract


def table(*columns: str) -> Table:
    return Table({"Part": ["one", "two"]}, {name: name.upper for name in columns})


def rows_of(made: Table) -> list[str]:
    return [line for line in made.markdown().splitlines() if line.startswith(("| one", "| two"))]


def test_a_cell_is_kept_only_when_every_test_of_it_passed() -> None:
    made = table("a", "b", "c")
    for column in "abc":
        made.passed("one", column)
    made.failed("one", "b")
    made.skipped("one", "c", "half of it")
    assert rows_of(made)[0] == "| one | ✓ | ✗ | ✓[^1] |"
    assert "[^1]: Half of it." in made.markdown()


def test_a_reason_stands_only_where_no_test_is() -> None:
    made = table("a", "b")
    made.passed("one", "a", ["only twice"])
    for column in "ab":
        made.does_not_apply("one", column, "no server")
    assert rows_of(made)[0] == "| one | ✓[^1] | –[^2] |"
    assert made.markdown().endswith("[^1]: Only twice.\n[^2]: No server.\n")


def test_a_cell_without_test_and_reason_is_told_and_never_looks_kept() -> None:
    made = table("a", "b")
    made.passed("one", "a")
    assert made.absent() == ["a: two", "b: no test at all"]
    assert rows_of(made) == ["| one | ✓ | ? |", "| two | ? | ? |"]


def test_a_run_of_one_column_leaves_the_others_as_they_were() -> None:
    made = table("a", "b")
    for column in "ab":
        made.passed("one", column, [f"note of {column}"])
        made.failed("two", column)
    page = made.markdown()
    later = table("a", "b")
    later.columns["b"] = lambda: "B 2"
    later.passed("two", "b", ["other note"])
    later.keep(page)
    assert later.absent() == ["b: one"]
    assert rows_of(later) == ["| one | ✓[^1] | ? |", "| two | ✗ | ✓[^2] |"]
    assert "| what is kept | A | B 2 |" in later.markdown()
    assert later.markdown().endswith("[^1]: Note of a.\n[^2]: Other note.\n")
    again = table("a", "b")
    again.keep(page)
    assert again.markdown() == page


def test_every_test_of_the_contract_is_a_row() -> None:
    known = {row for rows in ROWS.values() for row in rows}
    tests = {
        name for cls in (BackendContract, FaultContract, CrashContract) for name in dir(cls) if name[:5] == "test_"
    }
    assert {text_of(name) for name in tests} <= known
    assert len(tests) > 60


def test_a_test_is_of_the_column_that_it_says(request: pytest.FixtureRequest) -> None:
    assert column_of(request.node) is None
    for item in request.session.items:
        if item.path.stem in {"test_elasticsearch", "test_backends"}:
            column = column_of(item)
            assert column in COLUMNS
            assert f"test{column.rstrip('789')}" in item.nodeid.lower()


def test_a_promise_that_nobody_knows_is_an_error() -> None:
    class Wrong(Memory):
        does_not_apply = {"to be quick": "it is slow"}  # noqa: RUF012

    with pytest.raises(pytest.UsageError, match="to be quick"):
        reasons_of(Wrong)


def test_what_a_class_relaxes_is_noted() -> None:
    class Relaxed(Memory):
        percentile_error = 0.01
        many = 3_000

    assert notes_of(Relaxed, "answers equal the oracles") == ["percentiles are estimated, 1% off"]
    assert notes_of(Relaxed, "records of one nanosecond stay apart") == ["with 3,000 records instead of 10,000"]
    assert notes_of(Memory, "answers equal the oracles") == []
