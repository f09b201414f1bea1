"""The named points in an agent's work at which the tests end it or stop it.

The library has no hooks for this: `strike_at` wraps its functions in this process.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tallystick.agent.attempt import Attempt
from tallystick.backends.sqlite import SqliteBackend
from tallystick.spool import disk
from tallystick.spool.dead import DeadLetters
from tallystick.spool.positions import Positions
from tallystick.spool.source import SpoolSource

Strike = Callable[[], None]
Wrap = Callable[[Strike], None]

POSITIONS: Final = "positions.json"


def _before(owner: Any, name: str, applies: Callable[..., bool] = lambda *_: True) -> Wrap:
    return _around(owner, name, applies, after=False)


def _after(owner: Any, name: str, applies: Callable[..., bool] = lambda *_: True) -> Wrap:
    return _around(owner, name, applies, after=True)


def _around(owner: Any, name: str, applies: Callable[..., bool], *, after: bool) -> Wrap:
    def wrap(strike: Strike) -> None:
        original = getattr(owner, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            here = applies(*args)
            if here and not after:
                strike()
            result = original(*args, **options)
            if here and after:
                strike()
            return result

        setattr(owner, name, wrapped)

    return wrap


def _in_the_write(statement: str, *, after: bool) -> Wrap:
    """Around this statement of SQLite's connection."""

    def wrap(strike: Strike) -> None:
        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                return self._struck(super().execute, sql, *args)

            def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
                return self._struck(super().executemany, sql, *args)

            def _struck(self, call: Callable[..., sqlite3.Cursor], sql: str, *args: Any) -> sqlite3.Cursor:
                here = sql.startswith(statement)
                if here and not after:
                    strike()
                cursor = call(sql, *args)
                if here and after:
                    strike()
                return cursor

        original: Any = sqlite3.connect
        sqlite3.connect = lambda *args, **options: original(*args, factory=Connection, **options)

    return wrap


def _in_the_middle_of_a_dead_letter(strike: Strike) -> None:
    original = disk.write_all

    def torn(fd: int, data: bytes) -> None:
        if b'"event":"dead"' in data:
            middle = data.index(b"\n") // 2
            original(fd, data[:middle])
            strike()
            data = data[middle:]
        original(fd, data)

    disk.write_all = torn


def _is(ending: str, place: int = 0) -> Callable[..., bool]:
    """Whether the path among the arguments ends so."""

    def applies(*args: Any) -> bool:
        path: Path = args[place]
        return path.name.endswith(ending)

    return applies


def _positions_noted(aside: Path, path: Path) -> bool:
    return path.name == POSITIONS


POINTS: Final[dict[str, Wrap]] = {
    "before the attempt is noted": _before(Attempt, "begin"),
    "before the write": _before(SqliteBackend, "write"),
    "with rows written and not committed": _in_the_write("INSERT INTO points", after=True),
    "before the commit": _in_the_write("COMMIT", after=False),
    "after the commit": _in_the_write("COMMIT", after=True),
    "after the write": _after(SqliteBackend, "write"),
    "before the attempt is wiped": _before(Attempt, "end"),
    "before the result is processed": _before(SpoolSource, "settle"),
    "before the dead letters": _before(DeadLetters, "add"),
    "in the middle of a dead letter": _in_the_middle_of_a_dead_letter,
    "after the dead letters": _after(DeadLetters, "add"),
    "before the positions are saved": _before(Positions, "save"),
    "with the positions written aside": _before(disk, "rename", _positions_noted),
    "between rename and folder sync": _after(disk, "rename", _positions_noted),
    "after the positions are saved": _after(Positions, "save"),
    "before a segment is removed": _before(disk, "remove", _is(".jsonl")),
    "after a segment is removed": _after(disk, "remove", _is(".jsonl")),
    "before a tally is removed": _before(disk, "remove", _is(".tally")),
    "after a tally is removed": _after(disk, "remove", _is(".tally")),
    "after the house was tidied": _after(SpoolSource, "tidy"),
}


def strike_at(point: str, time: int, number: signal.Signals) -> None:
    """From now on, this process sends itself the signal when it comes to the point for the so many-th time."""
    left = time

    def strike() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)

    POINTS[point](strike)
