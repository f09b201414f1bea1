"""Connections to ClickHouse with limits of their own, and the driver's errors as the library's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from tallystick import plugins
from tallystick.backends import clickhouse_schema as schemas
from tallystick.backends._search_deadline import limit_answers
from tallystick.backends._url import ServerUrl
from tallystick.errors import Misconfigured, TooLarge, Unavailable

TIMEOUT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0

_PASSING: Final = frozenset({3, 159, 160, 164, 202, 209, 210, 241, 242, 243, 252, 319, 425, 439, 999})
"""Codes of troubles that pass: timeouts, read-only for a while, too many queries or parts, memory, disk, network."""

_PERSON_MUST_ACT: Final = {
    **dict.fromkeys((192, 193, 194, 516), "correct user and password"),
    **dict.fromkeys((291, 497), "grant this user the right; as an administrator run:\n{script}"),
    **dict.fromkeys((60, 81), "run `tallystick setup`, or as an administrator:\n{script}"),
    **dict.fromkeys((16, 47), "the tables are not as tallystick makes them; move them away and run `tallystick setup`"),
}
"""By the server's code: the remedy."""

_TOO_LARGE: Final = frozenset({307, 396})


@cache
def driver() -> Any:
    """The module clickhouse_connect. Raises `MissingExtra`."""
    try:
        import clickhouse_connect
        import clickhouse_connect.driver.exceptions
        import clickhouse_connect.driver.httputil
    except ImportError as error:
        raise plugins.missing_extra("clickhouse", error) from error
    return clickhouse_connect


def connect(url: ServerUrl, *, tls: bool) -> Any:
    """A new client with connections of its own, which retries nothing."""
    module, options = driver(), url.options
    seconds = float(options.get("timeout_seconds", TIMEOUT_SECONDS))
    connect_seconds = float(options.get("connect_timeout_seconds", min(CONNECT_SECONDS, seconds)))
    files = {"ca_cert": "ca_file", "client_cert": "cert_file", "client_cert_key": "key_file"}
    given = {key: options[name] for key, name in files.items() if options.get(name)}
    host, port = url.hosts[0]
    manager = module.driver.httputil.get_pool_manager(verify=not options.get("insecure_tls"), **given)
    limit_answers(manager.connection_from_host(host, port, "https" if tls else "http"), connect_seconds)
    client = module.get_client(
        interface="https" if tls else "http",
        host=host,
        port=port,
        username=url.user or "default",
        password=url.password.reveal() if url.password else "",
        connect_timeout=connect_seconds,
        send_receive_timeout=seconds,
        query_retries=0,
        autogenerate_session_id=False,
        compress="lz4",
        client_name="tallystick",
        pool_mgr=manager,
    )
    client.http_retries = 0
    return client


@contextmanager
def translated(address: str, database: str) -> Iterator[None]:
    """What names no cause that we know goes on as it is: then the agent bisects the batch."""
    errors = driver().driver.exceptions
    import urllib3

    try:
        yield
    except errors.Error as error:
        code = getattr(error, "code", None)
        if code in _PERSON_MUST_ACT:
            remedy = _PERSON_MUST_ACT[code].format(script=schemas.script(database))
            raise Misconfigured(f"{address}: {error}; {remedy}") from error
        if code in _TOO_LARGE:
            raise TooLarge(f"{address}: {error}") from error
        if code in _PASSING or (code is None and isinstance(error, errors.OperationalError)):
            raise Unavailable(f"{address}: {error}") from error
        if isinstance(error, errors.StreamFailureError):
            raise Unavailable(f"{address}: {error}") from error
        raise
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(f"{address}: {error}") from error
