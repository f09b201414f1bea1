"""Databases with a temper of their own, for what a well-behaved one does not show."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

from tallystick.backends import BaseBackend
from tallystick.backends.base import WriteResult
from tallystick.backends.sqlite import SqliteBackend
from tallystick.errors import Unavailable
from tallystick.records import Batch, Value


class PickySqlite(SqliteBackend):
    """SQLite that rejects the records named `bad`."""

    def write(self, batch: Batch) -> WriteResult:
        bad = {index: "it is bad" for index, record in enumerate(batch.records) if record.name == "bad"}
        result = super().write(batch.only(set(range(len(batch))) - bad.keys()) if bad else batch)
        assert not result.rejected
        return WriteResult(bad)


class OwnDatabase(BaseBackend):
    """What a user might write: a row for each report. It may be slow, never answer, or die of certain records. It is
    down while there is a file of its name with `.down` at the end.

    `deadly` are texts such as `event 301` (name and value); `death` is how they end the process: by `abort` or `kill`.
    """

    def __init__(self, path: Path, *, seconds: float = 0.0, deadly: tuple[str, ...] = (), death: str = "kill") -> None:
        self._path = path
        self._seconds = seconds
        self._deadly = deadly
        self._death = death
        self._connection: sqlite3.Connection | None = None

    @property
    def address(self) -> str:
        return f"own://{self._path}"

    def open(self) -> None:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
            self._connection.execute("PRAGMA synchronous = OFF")  # no test here cuts the power
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS reports (id TEXT PRIMARY KEY, name TEXT, value, run TEXT)"
            )

    def write(self, batch: Batch) -> WriteResult:
        if self._path.with_name(f"{self._path.name}.down").exists():
            raise Unavailable(f"{self._path} is down")
        if self._seconds == float("inf"):
            threading.Event().wait()
        time.sleep(self._seconds)
        assert self._connection is not None
        self._connection.execute("BEGIN")
        result = super().write(batch)
        self._connection.execute("COMMIT")
        return result

    def report(self, name: str, kind: str, value: Value, tags: dict[str, str], id: str) -> None:
        if f"{name} {value}" in self._deadly:
            if self._death == "abort":
                os.abort()
            os.kill(os.getpid(), signal.SIGKILL)
        assert self._connection is not None
        self._connection.execute(
            "INSERT OR IGNORE INTO reports VALUES (?, ?, ?, ?)", (id, name, str(value), tags.get("run"))
        )

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def reports(path: Path) -> list[tuple[str, str, str]]:
    """Name, value and run of every row of such a database."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT name, value, run FROM reports").fetchall()
    finally:
        connection.close()
