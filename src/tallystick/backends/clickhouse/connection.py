"""Connections to ClickHouse with limits of their own, and the driver's errors as the library's."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from tallystick import plugins
from tallystick.backends._http import limit_answers, retry_after
from tallystick.backends._url import ServerUrl, tls_context
from tallystick.backends.clickhouse import schema as schemas
from tallystick.errors import Misconfigured, TooLarge, Unavailable

TIMEOUT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0

_NO_RIGHT: Final = "grant this user the right, or let an administrator run this and add setup=no to the URL:\n{script}"
_PERSON_MUST_ACT: Final = {
    **dict.fromkeys((192, 193, 194, 516), "correct user and password"),
    **dict.fromkeys((291, 497), _NO_RIGHT),
    **dict.fromkeys((60, 81), "run `tallystick setup`, or as an administrator:\n{script}"),
    **dict.fromkeys((16, 47), "the tables are not as tallystick makes them; move them away and run `tallystick setup`"),
}
"""By the server's code: the remedy."""

_TOO_LARGE: Final = frozenset({307, 396})

_BLAMES_THE_RECORD: Final = frozenset(
    {6, 25, 26, 27, 32, 33, 38, 41, 53, 69, 70, 72, 117, 130, 131, 190, 321, 349, 376, 395, 441, 469, 675, 676}
)
"""Codes that may be a record's doing: a value that cannot be parsed or does not fit, a constraint, a view that raises.
All others, those of later versions as well, are the connection's or the server's state."""

_AFTER_SENTENCE: Final = re.compile(
    r"[.:;] In scope |[.:;] [Ww]hile (?:process|execut)ing | \(line \d+| \([A-Z_]+\) \(for "
)


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


def connect(url: ServerUrl, address: str, *, tls: bool) -> Any:
    """A new client with connections of its own, which repeats no insert."""
    module, options = driver(), url.options
    seconds = float(options.get("timeout_seconds", TIMEOUT_SECONDS))
    connect_seconds = float(options.get("connect_timeout_seconds", min(CONNECT_SECONDS, seconds)))
    given = {"ssl_context": tls_context(options), "ca_cert": options.get("ca_file")} if tls else {}
    host, port = url.hosts[0]
    manager = module.driver.httputil.get_pool_manager(verify=not options.get("insecure_tls"), **given)
    limit_answers(manager.connection_from_host(host, port, "https" if tls else "http"), connect_seconds)
    manager.request = _understood(manager.request, address)
    return module.get_client(
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


def _understood(request: Callable[..., Any], address: str) -> Callable[..., Any]:
    """Each request is sent once. One that gets no answer is told from here, since the driver would write it to the
    application's log. A refusal without a code of ClickHouse's is a proxy's or load balancer's: its status says what
    to do."""
    import urllib3

    def understood(*arguments: Any, **options: Any) -> Any:
        try:
            response = request(*arguments, **{**options, "retries": False, "redirect": False})
        except urllib3.exceptions.HTTPError as error:
            raise _no_answer(address, error) from error
        status = response.status
        marked = any(name.lower().startswith("x-clickhouse-") for name in response.headers)
        if (status < 300 and marked) or "X-ClickHouse-Exception-Code" in response.headers:
            return response
        said = f"{address} answered {status}: {response.data[:200].decode('utf-8', 'replace').strip()}"
        if status == 413:
            raise TooLarge(said)
        if status in (408, 429) or status >= 500:
            raise Unavailable(said, retry_after({"retry-after": response.headers.get("retry-after", "")}))
        if status in (401, 403):
            raise Misconfigured(f"{said}; correct user and password, or let this user through")
        raise Misconfigured(f"{said}; the URL must lead to ClickHouse's HTTP interface, with its scheme and port")

    return understood


@contextmanager
def translated(address: str, database: str, user: str) -> Iterator[None]:
    """Only what blames a record goes on as it is: then the agent bisects the batch."""
    errors = driver().driver.exceptions
    import urllib3

    try:
        yield
    except errors.Error as error:
        code = getattr(error, "code", None)
        if code in _PERSON_MUST_ACT:
            remedy = _PERSON_MUST_ACT[code].format(script=schemas.script(database, user))
            raise Misconfigured(f"{address}: {error}; {remedy}") from error
        if code in _TOO_LARGE:
            raise TooLarge(f"{address}: {error}") from error
        if code in _BLAMES_THE_RECORD or isinstance(error, errors.DataError):
            raise
        raise Unavailable(f"{address}: {error}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _no_answer(address, error) from error


def sentence(error: Exception) -> str:
    """What the server says of a statement, without the statement, which is ours, and the places in it."""
    said = str(error).partition("DB::Exception: ")[2] or str(error)
    return _AFTER_SENTENCE.split(said, maxsplit=1)[0][:500]


def _no_answer(address: str, error: Exception) -> Unavailable:
    """The driver's words for it begin with its own objects and the whole request."""
    if untrusted := _certificate_error(error):
        return Misconfigured(f"{address}: {untrusted.verify_message}; name the authority's certificate with ca_file=")
    return Unavailable(f"{address}: {str(getattr(error, 'reason', None) or error).rpartition('): ')[2]}")


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error
