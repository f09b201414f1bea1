"""Values at the edges of what a double holds are shown, and end no command."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.calling import answer, call

from tallystick.text import number, quantity, sparkline

INFINITE, NONE = float("inf"), float("nan")


def test_sums_beyond_the_largest_double_are_shown_as_infinite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "home"))
    for name, value in (("huge", "1.7e308"), ("huge", "1.7e308"), ("tiny", "5e-324"), ("low", "-1.7e308")):
        call("send", "gauge", name, "--", value)
    call("send", "gauge", "low", "--", "-1.7e308")
    asked = ("query", "huge", "low", "--aggregate")
    for aggregate in ("sum", "mean", "rate"):
        for more in ((), ("--bucket", "1h")):
            shown = call(*asked, aggregate, *more).stdout
            assert "-inf" in shown.replace("-inf/s", "-inf")
            assert " inf" in shown
            assert answer(*asked, aggregate, *more)["series"][0]["points"][0][1] is None
    assert "huge" in call("query").stdout
    call("top", "--count", "1")


@pytest.mark.parametrize("value", [INFINITE, -INFINITE, NONE])
def test_no_number_is_too_odd_to_be_shown(value: float) -> None:
    assert number(value) == str(value)
    for unit in (None, "B", "s", "users"):
        for kind in ("timing", "gauge"):
            assert str(value).strip("-") in quantity(value, unit, kind)
    assert sparkline([1.0, value, 2.0])[1] == " "
    assert sparkline([value]) == ""


def test_a_shape_of_the_largest_doubles_is_drawn() -> None:
    assert len(sparkline([1.7e308, -1.7e308, 0.0, 5e-324])) == 4
    assert len(sparkline([5e-324, 0.0])) == 2


def test_an_empty_tag_is_asked_for_and_told_from_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "home"))
    call("send", "gauge", "e", "1", "--tag", "k=")
    call("send", "gauge", "e", "2")
    assert answer("query", "e", "--where", "k=", "--aggregate", "sum")["series"][0]["points"][0][1] == 1
    for more in ((), ("--aggregate", "sum")):
        words = call("query", "e", "--by", "k", *more).stdout.split()
        assert words.count('""') == words.count("–") == 1
    assert 'k=""' in call("query", "e", "--by", "k", "--bucket", "1h").stdout
