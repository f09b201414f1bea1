"""The page of promises tells the truth: every test that it names is there and is run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "explanation" / "promises.md"
PLACES = (
    "tests/unit",
    "tests/acceptance",
    "tests/contract",
    "tests/integration",
    "tests/channels",
    "tests/typed",
    "tests/compat",
    "tests/test_rules.py",
)


def named(page: str) -> set[str]:
    return set(re.findall(r"`(test_\w+)`", page))


def without_a_test(page: str) -> list[str]:
    """The promises, by their first words, under which no test is named."""
    promises = re.findall(r"^- \*\*(.+?)(?=^- |^#|\Z)", page, re.MULTILINE | re.DOTALL)
    return [promise[:60] for promise in promises if not named(promise)]


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """The names of the tests that a run without any option runs."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *PLACES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return set(re.findall(r"::(test_\w+)", done.stdout))


def test_every_test_on_the_page_of_promises_is_there_and_is_run(collected: set[str]) -> None:
    names = named(PAGE.read_text(encoding="utf-8"))
    assert len(names) > 100
    assert sorted(names - collected) == []


def test_every_promise_on_the_page_has_a_test() -> None:
    assert without_a_test(PAGE.read_text(encoding="utf-8")) == []


def test_a_promise_without_a_test_is_noticed() -> None:
    page = "- **Kept.** `test_a`\n- **Not kept**: at\n  all.\n\n## More\n\n- **Kept**\n  `test_b`\n"
    assert without_a_test(page) == ["Not kept**: at\n  all.\n\n"]
    assert named(page) == {"test_a", "test_b"}


def test_a_test_that_is_none_is_not_collected(collected: set[str]) -> None:
    assert "test_no_such_promise" not in collected
