"""Connections to PostgreSQL that notice a silent server, and the driver's errors as the library's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from tallystick import plugins
from tallystick.backends import postgresql_schema as schemas
from tallystick.backends._url import ServerUrl, is_loopback
from tallystick.errors import Misconfigured, Unavailable

TIMEOUT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0

_PERSON_MUST_ACT: Final = {
    "28": "correct user and password",
    "3D": "create the database, or correct its name",
    "42501": "grant this user the right; as the tables' owner or an administrator run:\n{script}",
    "3F": "as an administrator run:\n{script}",
    "42P01": "run `tallystick setup`, or as an administrator:\n{script}",
    "42": "the tables are not as tallystick makes them; move them away, then run `tallystick setup`",
    "25006": "connect to the primary: this server is read-only",
}
"""By SQLSTATE or its class: the remedy."""


@cache
def driver() -> Any:
    """The module psycopg. Raises `MissingExtra`."""
    try:
        import psycopg
    except ImportError as error:
        raise plugins.missing_extra("postgresql", error) from error
    return psycopg


def connect(url: ServerUrl) -> Any:
    """A new connection in autocommit mode, every exchange of which ends in an error after the URL's timeout."""
    psycopg, options = driver(), url.options
    seconds = float(options.get("timeout_seconds", TIMEOUT_SECONDS))

    class Connection(psycopg.Connection):  # type: ignore[misc, name-defined]
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            return super().wait(gen, interval, seconds if timeout is None else timeout)

    files = {"sslrootcert": "ca_file", "sslcert": "cert_file", "sslkey": "key_file"}
    tls = {key: options[name] for key, name in files.items() if options.get(name)}
    tls["sslmode"] = "prefer"
    if not all(is_loopback(host) for host, _ in url.hosts):
        tls["sslmode"] = "require" if options.get("insecure_tls") else "verify-full"
        tls.setdefault("sslrootcert", "system")
    tls["sslmode"] = options.get("sslmode", tls["sslmode"])
    return Connection.connect(
        host=",".join(host for host, _ in url.hosts),
        port=",".join(str(port) for _, port in url.hosts),
        dbname=url.name or "postgres",
        user=url.user,
        password=url.password.reveal() if url.password else None,
        connect_timeout=max(1, round(options.get("connect_timeout_seconds", min(CONNECT_SECONDS, seconds)))),
        application_name="tallystick",
        autocommit=True,
        **tls,
    )


@contextmanager
def translated(address: str, schema: str) -> Iterator[None]:
    """What names no cause that we know goes on as it is: then the agent bisects the batch."""
    psycopg = driver()
    try:
        yield
    except psycopg.Error as error:
        state, text = error.sqlstate or "", str(error)
        remedy = next((remedy for code, remedy in _PERSON_MUST_ACT.items() if state.startswith(code)), None)
        if state == "" and "authentication failed" in text:  # while connecting, only the text tells
            remedy = "correct user and password"
        elif state == "" and 'database "' in text and "does not exist" in text:
            remedy = "create the database, or correct its name"
        if remedy is not None:
            raise Misconfigured(f"{address}: {error}; {remedy.format(script=schemas.script(schema))}") from error
        if isinstance(error, psycopg.OperationalError | psycopg.InternalError):
            raise Unavailable(f"{address}: {error}") from error
        raise
