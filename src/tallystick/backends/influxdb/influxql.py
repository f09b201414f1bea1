"""Asking InfluxDB 1 and 2 by InfluxQL, which both answer at `/query` with the same code."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import msgspec

from tallystick.backends._url import ServerUrl
from tallystick.backends.influxdb.http import Answer, Http, check, no_json, taken
from tallystick.errors import Misconfigured, QueryError, SettingsError, Unavailable

_FORM: Final = "application/x-www-form-urlencoded"

CLOSED_PAUSES_SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""How long a delete waits, time after time, for a closed shard to be gone."""


class Rows(msgspec.Struct, frozen=True):
    """A series of an answer: a measurement's rows that share the tags grouped by ("" for one that is not there)."""

    columns: list[str]
    values: list[list[Any]] = []
    name: str = ""
    tags: dict[str, str] = {}


class _Result(msgspec.Struct, frozen=True):
    series: list[Rows] = []
    error: str | None = None
    partial: bool = False


class _Reply(msgspec.Struct, frozen=True):
    results: list[_Result] = []


_decode_reply: Final = msgspec.json.Decoder(_Reply).decode


def identifier(name: str) -> str:
    """A name as InfluxQL quotes it."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


class _ShardClosed(Unavailable):
    """A shard of some database is closed: that database is being dropped, or the server stops."""


class InfluxqlServer(ABC):
    """One server with one database, and one connection to it. Used by one thread at a time; `again` makes another."""

    def __init__(self, url: ServerUrl) -> None:
        if len(url.hosts) != 1:
            raise SettingsError(
                f"backend: {', '.join(url.places)}: InfluxDB takes one host; put a load balancer before more"
            )
        if not url.name:
            raise SettingsError(f"backend: {url.scheme}://{url.places[0]} names no database; add it: /metrics")
        self.url = url
        self.address = f"{url.scheme}://{url.places[0]}/{quote(url.name)}"
        self.database = url.name
        self.policy: str | None = None
        self.http = Http(url, self.address, self._authorization())

    def _authorization(self) -> Callable[[], str] | None:
        """What gives the header of that name, where the URL has credentials."""
        return None

    def again(self) -> Self:
        """The same server by a connection of its own."""
        other = type(self)(self.url)
        other.database, other.policy = self.database, self.policy
        return other

    def close(self) -> None:
        self.http.close()

    @abstractmethod
    def prepare(self, *, create: bool) -> list[str]:
        """Find the database, or create it; what was created. Raises `Misconfigured` when it is missing."""

    def write(self, body: bytes) -> Answer:
        """The server's answer when it took the lines or refused some of them. Raises for all else."""
        answer = self.http.request("POST", self._write_target, body)
        return answer if answer.status in (400, 422) and answer.marked else taken(answer, self.address)

    @property
    @abstractmethod
    def _write_target(self) -> str:
        """The path to write to."""

    def delete(self, measurement: str, tags: Mapping[str, str], first_ns: int, last_ns: int) -> None:
        """Delete the points of a measurement that have these tags, from the first time to the last, both included.

        The server first asks every shard of all its databases for the measurement, and those of a database that is
        dropped just then are closed (`Store.ExpandSources` in tsdb/store.go); a moment later they are gone.
        """
        conditions = [f"{identifier(key)} = {literal(value)}" for key, value in tags.items()]
        conditions += [f"time >= {first_ns}", f"time <= {last_ns}"]
        statement = f"DELETE FROM {identifier(measurement)} WHERE {' AND '.join(conditions)}"  # noqa: S608  (all quoted)
        for pause_seconds in CLOSED_PAUSES_SECONDS:
            try:
                self.ask([statement])
                return
            except _ShardClosed:
                time.sleep(pause_seconds)
        self.ask([statement])

    def ask(self, statements: Sequence[str]) -> list[list[Rows]]:
        """The series that each statement of InfluxQL is answered with; times are in nanoseconds."""
        where = {"db": self.database, "epoch": "ns"} | ({"rp": self.policy} if self.policy else {})
        body = urlencode({"q": ";".join(statements)}).encode()
        answer = self.http.request("POST", f"/query?{urlencode(where)}", body, _FORM)
        if answer.status == 400 and answer.marked:
            raise QueryError(f"{self.address}: {answer.text}")
        check(answer, self.address)
        try:
            results = _decode_reply(answer.body).results
        except msgspec.MsgspecError:
            raise no_json(answer, self.address) from None
        for result in results:
            if result.error is not None:
                self._failed(result.error)
            if result.partial:
                raise QueryError(f"{self.address}: the server cuts answers off; raise its max-row-limit")
        return [result.series for result in results]

    def _failed(self, error: str) -> None:
        if "database not found" in error or "retention policy" in error:
            raise Misconfigured(f"{self.address}: {error}; run `tallystick setup`, or correct the backend's URL")
        if error == "engine is closed":
            raise _ShardClosed(f"{self.address}: {error}")
        if "timeout" in error or "shutdown" in error or "closed" in error:
            raise Unavailable(f"{self.address}: {error}")
        raise QueryError(f"{self.address}: {error}")

    def source(self, measurement: str) -> str:
        """As SHOW statements name it, which take no retention policy from the request."""
        return (f"{identifier(self.policy)}." if self.policy else "") + identifier(measurement)

    def fields(self) -> dict[str, dict[str, str]]:
        """The type of every field of every measurement."""
        found: dict[str, dict[str, str]] = {}
        for rows in self.ask(["SHOW FIELD KEYS"])[0]:
            if rows.columns != ["fieldKey", "fieldType"]:
                raise QueryError(f"{self.address} takes line protocol but answers no InfluxQL")
            found.setdefault(rows.name, {}).update((name, type_) for name, type_ in rows.values)
        return found
