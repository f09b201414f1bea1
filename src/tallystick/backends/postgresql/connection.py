"""Connections to PostgreSQL that notice a silent server, and the driver's errors as the library's.

A pooler that shares connections by the transaction (PgBouncer, RDS Proxy) may carry each transaction to another session
of the server. So nothing of ours outlives its transaction: no prepared statement, no `SET`, no lock of a session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from tallystick import plugins
from tallystick.backends._url import ServerUrl, is_loopback, tls_context
from tallystick.errors import Misconfigured, QueryError, Unavailable

TIMEOUT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0
VERIFIED: Final = "verify-full"
ENCRYPTED: Final = frozenset(("require", "verify-ca", VERIFIED))
"""The values of `sslmode` with which nothing is sent in the clear."""

_SETTINGS: Final = (
    "SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO', true),"
    " set_config('extra_float_digits', '3', true), set_config('standard_conforming_strings', 'on', true),"
    " set_config('statement_timeout', %s, true),"
    " set_config('synchronous_commit', CASE setting WHEN 'off' THEN 'on' ELSE setting END, true)"
    " FROM current_setting('synchronous_commit') AS setting"
)
STATEMENT_TIMEOUTS: Final = 6
"""A statement is many exchanges, each of which has the URL's timeout; the whole has this many of them."""

_PERSON_MUST_ACT: Final = {
    "28": "correct user and password",
    "3D": "create the database, or correct its name",
    "42501": "grant this user the right, or let an administrator run this and add setup=no to the URL:\n{script}",
    "3F": "as an administrator run:\n{script}",
    "42P01": "run `tallystick setup`, or as an administrator:\n{script}",
    "42": "the tables are not as tallystick makes them; `tallystick check` says what differs, and the remedy",
    "25006": "connect to the primary: this server is read-only",
}
"""By SQLSTATE or its class: the remedy."""

_BLAMES_THE_RECORD: Final = ("21", "22", "23", "44", "54", "P0")
"""Classes of SQLSTATE that may be a record's doing: a value that does not fit, a constraint, a row that is too large
for an index, a raising trigger. All others are the connection's or the server's state, whatever was sent."""

_WHILE_CONNECTING: Final = {
    "certificate verify failed": "name the certificate of the authority that signed the server's with ca_file=;"
    " insecure_tls=yes gives up on knowing who answers",
    "does not match host name": "connect to a name that is in the server's certificate",
    "client certificate": "name a certificate that the server takes with cert_file= and key_file=",
    "certificate authentication failed": "name a certificate of this very user with cert_file= and key_file=",
    "certificate file": "ca_file, cert_file and key_file must be PEM files that this user may read",
    "key file": "ca_file, cert_file and key_file must be PEM files, the key readable by this user alone",
    "does not support SSL": "switch TLS on at the server (ssl = on), or say sslmode=disable",
    "no pg_hba.conf entry": "the server's pg_hba.conf must let this user in from here, with or without TLS as it says",
    "authentication failed": "correct user and password",
    "no password supplied": "give the password, by password_env= or password_file=",
    "does not exist": "create the user or the database, or correct its name",
    "not permitted to log in": "ALTER ROLE … LOGIN, or name another user",
    "permission denied for database": "GRANT CONNECT ON DATABASE … to this user",
}
"""By a part of the message, since it has no SQLSTATE then: the remedy. The first that fits counts."""


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

    return Connection.connect(
        host=",".join(host for host, _ in url.hosts),
        port=",".join(str(port) for _, port in url.hosts),
        dbname=url.name or "postgres",
        user=url.user,
        password=url.password.reveal() if url.password else None,
        connect_timeout=max(1, round(options.get("connect_timeout_seconds", min(CONNECT_SECONDS, seconds)))),
        application_name="tallystick",
        client_encoding="utf8",
        autocommit=True,
        prepare_threshold=None,
        **_tls(url),
        **({"target_session_attrs": "read-write"} if len(url.hosts) > 1 else {}),  # of several, the primary
    )


def settle(connection: Any, timeout_seconds: float) -> None:
    """What this transaction relies on, whatever server, database and user say: they may cut digits off numbers, give
    times in another form or zone, end statements too soon, or answer before a commit is on the disk."""
    connection.execute(_SETTINGS, (str(round(1000 * STATEMENT_TIMEOUTS * timeout_seconds)),))


def _tls(url: ServerUrl) -> dict[str, str]:
    """libpq's words for our options. Another host than this very machine is verified, and this one when asked for."""
    options = url.options
    files = {"sslrootcert": "ca_file", "sslcert": "cert_file", "sslkey": "key_file"}
    tls = {key: options[name] for key, name in files.items() if options.get(name)}
    if tls:
        tls_context(options)  # says which file cannot be read; libpq would go on without it
    near = all(is_loopback(host) for host, _ in url.hosts)
    usual = "require" if options.get("insecure_tls") else "prefer" if near and not options.get("ca_file") else VERIFIED
    tls["sslmode"] = options.get("sslmode", usual)
    if tls["sslmode"] == VERIFIED:
        tls.setdefault("sslrootcert", "system")
    elif options.get("insecure_tls"):
        tls.pop("sslrootcert", None)  # with one, libpq would verify all the same
    return tls


@contextmanager
def answering(address: str) -> Iterator[None]:
    """Around a question: what else the driver raises is a `QueryError`."""
    errors = driver().errors
    try:
        yield
    except driver().Error as error:
        remedy = ""
        if isinstance(error, errors.NumericValueOutOfRange):
            remedy = (
                "; this server adds no numbers up beyond the largest double: ask fewer names, or for min, max or last"
            )
        raise QueryError(f"{address}: {' '.join(str(error).split())}{remedy}") from error


@contextmanager
def translated(address: str, script: Callable[[], str]) -> Iterator[None]:
    """The driver's errors as ours; `script` gives what an administrator runs. Only what blames a record goes on as it
    is."""
    psycopg = driver()
    try:
        yield
    except psycopg.Error as error:
        state, text = error.sqlstate or "", " ".join(str(error).split())
        known = _PERSON_MUST_ACT if state else _WHILE_CONNECTING
        fits = state.startswith if state else text.__contains__
        remedy = next((remedy for sign, remedy in known.items() if fits(sign)), None)
        if remedy is not None:
            raise Misconfigured(f"{address}: {text}; {remedy.format(script=script())}") from error
        if blames_a_record(error):
            raise
        raise Unavailable(f"{address}: {text}") from error


def blames_a_record(error: Any) -> bool:
    """Whether the driver's error may be a record's doing. One without a SQLSTATE never left this process."""
    if error.sqlstate is None:
        return isinstance(error, driver().DataError)
    return bool(error.sqlstate.startswith(_BLAMES_THE_RECORD))
