"""What every benchmark here shares: rounds that take turns, ratios between neighbours, and one way to print.

A figure is a ratio of two things measured in the same process within the same seconds. Machines differ, and a shared
one changes from minute to minute, so:

- The contestants take turns within each round, in an order that rotates, and a ratio is only formed within a round.
  Short ones take many turns a round, of a few milliseconds each, so that what disturbs one disturbs all.
- What is printed is the median of the rounds' ratios, with the lowest and the highest of its middle half beside it.
- There are at least `ROUNDS` rounds; `--quick` runs fewer and smaller ones and says so.

A missed goal is printed as `missed` and is no failure: speed depends on the machine, and a timed test would be a coin
toss. A script fails (exit code 1) when what it measured is wrong, for instance when records are missing afterwards.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

ROUNDS = 15
QUICK_ROUNDS = 3


@dataclass(frozen=True)
class Options:
    """How long to measure. `scaled(n)` is `n`, or a tenth of it with `--quick`."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        return QUICK_ROUNDS if self.quick else ROUNDS

    def scaled(self, count: int) -> int:
        return max(1, count // 10) if self.quick else count


@dataclass(frozen=True)
class Figure:
    """One line of the table. `low` and `high` bound the middle half of the rounds; `better` says where the goal is."""

    name: str
    value: float
    goal: float
    better: Literal["lower", "higher"] = "lower"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    note: str = ""
    reached: bool = field(init=False)

    def __post_init__(self) -> None:
        reached = self.value <= self.goal if self.better == "lower" else self.value >= self.goal
        object.__setattr__(self, "reached", reached)

    def line(self) -> str:
        sign = "<=" if self.better == "lower" else ">="
        span = "" if self.low is None or self.high is None else f"[{_short(self.low)} - {_short(self.high)}]"
        verdict = "ok" if self.reached else "missed"
        value = f"{_short(self.value)}{self.unit}"
        return f"{self.name:<62} {value:>9}  {sign} {self.goal:<5g} {verdict:<7} {span:<17} {self.note}".rstrip()


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.3f}"


def take_turns(rounds: int, jobs: Mapping[str, Callable[[], float]], turns: int = 1) -> dict[str, list[float]]:
    """Run every job `turns` times a round, the first one changing from turn to turn. For each round the mean of what
    the job returned, by its name.

    One round more than asked is run first, and not counted: caches fill and files are made in it.
    """
    names = list(jobs)
    results: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):
        sums = dict.fromkeys(names, 0.0)
        for turn in range(turns):
            shift = (number + turn) % len(names)
            for name in names[shift:] + names[:shift]:
                sums[name] += jobs[name]()
        if number >= 0:
            for name in names:
                results[name].append(sums[name] / turns)
    return results


def compare(
    name: str,
    ours: list[float],
    theirs: list[float],
    goal: float,
    *,
    better: Literal["lower", "higher"] = "lower",
    note: str = "",
) -> Figure:
    """The figure `ours / theirs`, round by round. Without a note it tells the two medians, taken as seconds a call."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    quarter = len(ratios) // 4
    return Figure(
        name,
        statistics.median(ratios),
        goal,
        better,
        low=ratios[quarter],
        high=ratios[-1 - quarter],
        note=note or f"{_time(statistics.median(ours))} against {_time(statistics.median(theirs))}",
    )


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder on the disk of `TMPDIR` that is gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main(topic: str, measure: Callable[[Options], Iterator[Figure]]) -> None:
    """The command line of a benchmark script: prints each figure as it is known, or with `--json` all at the end."""
    parser = argparse.ArgumentParser(description=topic)
    parser.add_argument("--json", action="store_true", help="one JSON object with all figures")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not a measurement")
    given = parser.parse_args()
    figures = []
    if not given.json:
        print(f"# {topic}; Python {platform.python_version()}{', quick' if given.quick else ''}", flush=True)
    for figure in measure(Options(quick=given.quick)):
        figures.append(asdict(figure))
        if not given.json:
            print(figure.line(), flush=True)
    if given.json:
        json.dump(
            {"topic": topic, "python": platform.python_version(), "quick": given.quick, "figures": figures}, sys.stdout
        )
        print()
