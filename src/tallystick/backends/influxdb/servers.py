"""InfluxDB 1 and 2: where to write, how to ask, what to create and delete.

Both answer InfluxQL at `/query` with the same code, version 2 under the name of a database that is mapped to the bucket
(which it mostly does by itself). So questions are put together once, in `query.py`.
"""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import msgspec

from tallystick.backends._url import ServerUrl
from tallystick.backends.influxdb.http import Answer, Http, Missing, Unseen, basic, check, no_json, taken
from tallystick.errors import BackendError, Misconfigured, QueryError, SettingsError, Unavailable

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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


class InfluxqlServer(ABC):
    """One server with one database, and one connection to it. Used by one thread at a time; `again` makes another."""

    _authorization: str | None = None

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
        self.http = Http(url, self.address, self._authorization)

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
        return answer if answer.status in (400, 422) else taken(answer, self.address)

    @property
    @abstractmethod
    def _write_target(self) -> str:
        """The path to write to."""

    def delete(self, measurement: str, tags: Mapping[str, str], first_ns: int, last_ns: int) -> None:
        """Delete the points of a measurement that have these tags, from the first time to the last, both included."""
        conditions = [f"{identifier(key)} = {literal(value)}" for key, value in tags.items()]
        conditions += [f"time >= {first_ns}", f"time <= {last_ns}"]
        self.ask([f"DELETE FROM {identifier(measurement)} WHERE {' AND '.join(conditions)}"])  # noqa: S608  (all quoted)

    def ask(self, statements: Sequence[str]) -> list[list[Rows]]:
        """The series that each statement of InfluxQL is answered with; times are in nanoseconds."""
        where = {"db": self.database, "epoch": "ns"} | ({"rp": self.policy} if self.policy else {})
        body = urlencode({"q": ";".join(statements)}).encode()
        answer = self.http.request("POST", f"/query?{urlencode(where)}", body, _FORM)
        if answer.status == 400:
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


class Server1(InfluxqlServer):
    """InfluxDB 1. The database is made with `retention_days`; so is a `retention_policy` that is not there yet."""

    def __init__(self, url: ServerUrl) -> None:
        if url.user is not None:
            self._authorization = basic(url.user, url.password.reveal() if url.password else "")
        super().__init__(url)
        self.policy = url.options.get("retention_policy")

    @property
    def _write_target(self) -> str:
        return "/write?" + urlencode({"db": self.database} | ({"rp": self.policy} if self.policy else {}))

    def prepare(self, *, create: bool) -> list[str]:
        done = []
        name, days = identifier(self.database), self.url.options.get("retention_days")
        duration = "INF" if days is None else f"{round(days * 86_400)}s"
        if not self._shows("SHOW DATABASES", self.database):
            statement = f"CREATE DATABASE {name}" + (
                "" if days is None or self.policy else f" WITH DURATION {duration}"
            )
            self._create(statement, f"database {self.database}", create)
            done.append(f"created the database {self.database}")
        if self.policy and not self._shows(f"SHOW RETENTION POLICIES ON {name}", self.policy):
            policy = f"CREATE RETENTION POLICY {identifier(self.policy)} ON {name} DURATION {duration} REPLICATION 1"
            self._create(policy, f"retention policy {self.policy}", create)
            done.append(f"created the retention policy {self.policy}")
        return done

    def _shows(self, statement: str, name: str) -> bool:
        return any(row[0] == name for rows in self.ask([statement])[0] for row in rows.values)

    def _create(self, statement: str, what: str, create: bool) -> None:
        remedy = f"as an administrator run: {statement}"
        if not create:
            raise Missing(f"{self.address}: there is no {what}; {remedy}")
        try:
            self.ask([statement])
        except (Misconfigured, QueryError) as error:
            raise Misconfigured(f"{self.address}: {what} cannot be created ({error}); {remedy}") from None


class Server2(InfluxqlServer):
    """InfluxDB 2. Without `org`, it is the one that a bucket of this name is found in."""

    def __init__(self, url: ServerUrl) -> None:
        if token := url.options.get("token"):
            self._authorization = f"Token {token.reveal()}"
        super().__init__(url)
        self._is_default = False  # whether the bucket is the database's default, which alone InfluxQL deletes from
        self._place = {"bucket": url.name} | ({"org": url.options["org"]} if url.options.get("org") else {})

    def again(self) -> Self:
        other = super().again()
        other._place, other._is_default = self._place, self._is_default
        return other

    @property
    def _write_target(self) -> str:
        return "/api/v2/write?" + urlencode({**self._place, "precision": "ns"})

    def prepare(self, *, create: bool) -> list[str]:
        done = []
        organisation = {"org": self.url.options["org"]} if self.url.options.get("org") else {}
        found = self._buckets(organisation)
        if not found:
            bucket = self._create(organisation, create)
            done.append(f"created the bucket {self.url.name}")
        elif len(found) > 1:
            raise Misconfigured(f"{self.address}: {len(found)} organisations have this bucket; say which with org=")
        else:
            bucket = found[0]
        self._place = {"bucket": bucket["id"], "orgID": bucket["orgID"]}
        return done + self._find_database(bucket, create)

    def _buckets(self, organisation: dict[str, str]) -> list[dict[str, Any]]:
        wanted = urlencode({"name": self.url.name, **organisation})
        answer = self.http.request("GET", f"/api/v2/buckets?{wanted}")
        if answer.status == 404 and answer.text.startswith("bucket"):  # so when the organisation is named, else []
            return []
        found: list[dict[str, Any]] = msgspec.json.decode(check(answer, self.address).body)["buckets"]
        return found

    def _create(self, organisation: dict[str, str], create: bool) -> dict[str, Any]:
        days = self.url.options.get("retention_days")
        rules = [] if days is None else [{"type": "expire", "everySeconds": round(days * 86_400)}]
        remedy = f"run: influx bucket create --name '{self.url.name}', with a token that may"
        organisations = self._api("GET", "orgs", organisation)["orgs"]
        if not create:
            why = f"{self.address}: there is no such bucket, or the token may not see it; {remedy}"
            raise Missing(why) if organisations else Unseen(why)
        if len(organisations) > 1:
            raise Misconfigured(f"{self.address}: which of {len(organisations)} organisations? Say it with org=")
        if not organisations:
            raise Misconfigured(
                f"{self.address}: there is no such bucket, or the token may not see it; {remedy}, or add setup=no for a"
                " token that may only write"
            )
        wanted = {"orgID": organisations[0]["id"], "name": self.url.name, "retentionRules": rules}
        try:
            return self._api("POST", "buckets", {}, wanted)
        except BackendError as error:
            if isinstance(error, Unavailable) and not isinstance(error, Misconfigured):
                raise
            raise Misconfigured(f"{self.address}: the bucket cannot be created ({error}); {remedy}") from None

    def _find_database(self, bucket: dict[str, Any], create: bool) -> list[str]:
        """Under which name InfluxQL finds the bucket."""
        ids = {"orgID": bucket["orgID"], "bucketID": bucket["id"]}
        mappings = self._api("GET", "dbrps", ids)["content"]
        done = []
        if create and not any(mapping["default"] for mapping in mappings):
            name = self.url.name if re.fullmatch(r"[A-Za-z0-9_.-]+", self.url.name) else bucket["id"]
            wanted = {**ids, "database": name, "retention_policy": "autogen", "default": True}
            with contextlib.suppress(
                BackendError
            ):  # without the right to it, a mapping that is no default will mostly do
                mappings = [self._api("POST", "dbrps", {}, wanted)]
                done.append(f"mapped the database {name} to the bucket, for InfluxQL")
        if not mappings:
            raise Misconfigured(f"{self.address}: no database is mapped to the bucket, so InfluxQL does not find it")
        best = max(mappings, key=lambda mapping: bool(mapping["default"]))
        self.database, self.policy = best["database"], best["retention_policy"]
        self._is_default = bool(best["default"])
        return done

    def _api(self, method: str, path: str, parameters: Mapping[str, str], body: Any = None) -> dict[str, Any]:
        raw = None if body is None else msgspec.json.encode(body)
        answer = self.http.request(method, f"/api/v2/{path}?{urlencode(parameters)}", raw, _JSON)
        check(answer, self.address)
        found: dict[str, Any] = msgspec.json.decode(answer.body or b"{}")
        return found

    def delete(self, measurement: str, tags: Mapping[str, str], first_ns: int, last_ns: int) -> None:
        """By InfluxQL where it can: the call for it looks at every name, which takes seconds beside 20,000."""
        if self._is_default:
            super().delete(measurement, tags, first_ns, last_ns)
            return
        equal = " AND ".join(
            f"{identifier(key)}={identifier(value)}" for key, value in {"_measurement": measurement, **tags}.items()
        )
        wanted = {"start": _rfc3339(first_ns), "stop": _rfc3339(last_ns), "predicate": equal}
        self._api("POST", "delete", self._place, wanted)


def _rfc3339(moment_ns: int) -> str:
    seconds, nanoseconds = divmod(moment_ns, 1_000_000_000)
    return f"{(_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()}.{nanoseconds:09d}Z"
