"""InfluxDB 1 and 2: where to write, what to create, how to delete.

Version 2 answers InfluxQL under the name of a database that is mapped to the bucket (which it mostly does by itself),
so questions are put together once for both, in `query.py`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from urllib.parse import urlencode

import msgspec

from tallystick.backends._url import ServerUrl
from tallystick.backends.influxdb.http import Answer, Missing, Unseen, basic, check, no_json
from tallystick.backends.influxdb.influxql import InfluxqlServer, identifier
from tallystick.errors import BackendError, Misconfigured, QueryError, Unavailable

_JSON: Final = "application/json"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Server1(InfluxqlServer):
    """InfluxDB 1. The database is made with `retention_days`; so is a `retention_policy` that is not there yet."""

    def __init__(self, url: ServerUrl) -> None:
        super().__init__(url)
        self.policy = url.options.get("retention_policy")

    def _authorization(self) -> Callable[[], str] | None:
        user, password = self.url.user, self.url.password
        return None if user is None else lambda: basic(user, password.reveal() if password else "")

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
        super().__init__(url)
        self._is_default = False  # whether the bucket is the database's default, which alone InfluxQL deletes from
        self._place = {"bucket": url.name} | ({"org": url.options["org"]} if url.options.get("org") else {})

    def _authorization(self) -> Callable[[], str] | None:
        token = self.url.options.get("token")
        return None if token is None else lambda: f"Token {token.reveal()}"

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
        return self._part(check(answer, self.address), "buckets")

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
        if answer.status == 204:
            return {}
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise no_json(answer, self.address) from None

    def _part(self, answer: Answer, name: str) -> list[dict[str, Any]]:
        """A list of objects in an answer, which something else than InfluxDB would not have."""
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])[name]  # type: ignore[no-any-return]
        except (msgspec.MsgspecError, KeyError):
            raise no_json(answer, self.address) from None

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
