"""HTTP to one InfluxDB, by the standard library: one connection that is kept, a limit on each call, nothing retried.

There is no driver between: what a server says of a refused batch is all in the answer's status and text, which the
official clients turn into exceptions and retries of their own, and line protocol is a text that we make anyway.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import select
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from tallystick.backends._http import LimitedResponse, retry_after
from tallystick.backends._url import ServerUrl, is_loopback, tls_context
from tallystick.errors import BackendError, Misconfigured, QueryError, TooLarge, Unavailable
from tallystick.processes import PerProcess

REMEDIES: Final = {
    403: "grant this user or token the right to write and read here",
    404: "create it, or correct the backend's URL",
}

TLS_ALERT: Final = "\x15\x03"
"""What a server that wants TLS says to plain HTTP begins so: a record of the type alert (RFC 8446, 5.1)."""


class Answer(msgspec.Struct, frozen=True):
    """`headers` have names in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def text(self) -> str:
        """What an error says: the server's sentence, or the body's start when it is not the server's."""
        try:
            said = msgspec.json.decode(self.body)
            return str(said.get("message") or said.get("error") or said)
        except (ValueError, AttributeError, RecursionError):
            return self.body[:300].decode("utf-8", "replace").strip()

    @property
    def marked(self) -> bool:
        """Whether InfluxDB says this, and not a proxy before it: by its header, or by its words about lines."""
        return not self.headers.keys().isdisjoint(_HEADERS) or _WORDS.search(self.text) is not None


_HEADERS: Final = frozenset(("x-influxdb-version", "x-influxdb-build", "x-influxdb-error", "x-platform-error-code"))
_WORDS: Final = re.compile(r"partial write|unable to parse|field type conflict|write of line protocol")


class Missing(Misconfigured):
    """There is no such database, bucket or retention policy."""


class Unseen(Missing):
    """This token sees none, nor anything else: it may be one that may only write."""


class Http:
    """`authorization` gives the value of the header of that name, and is asked at each connect. Used by one thread at a
    time."""

    def __init__(self, url: ServerUrl, address: str, authorization: Callable[[], str] | None) -> None:
        options = url.options
        self.address = address
        self.timeout_seconds: float = options.get("timeout_seconds", 10.0)
        self._connect_seconds: float = options.get("connect_timeout_seconds", min(5.0, self.timeout_seconds))
        self._host, self._port = url.hosts[0]
        self._tls = tls_context(options) if url.scheme.endswith("+https") else None
        self._headers = {"Accept": "application/json", "User-Agent": "tallystick"}
        self._authorization = authorization
        self._compress: bool = options.get("gzip", not is_loopback(self._host))
        # In a forked child a close ends the child's descriptor and leaves the parent's alone.
        self._held = PerProcess(http.client.HTTPConnection.close, leave=http.client.HTTPConnection.close)

    def request(self, method: str, target: str, body: bytes | None = None, content_type: str = "text/plain") -> Answer:
        """Raises `Unavailable` when no whole answer came in time, `Misconfigured` when TLS refuses the server."""
        connection = self._connected()
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = content_type
            if self._compress and len(body) > 1_000:
                body, headers["Content-Encoding"] = gzip.compress(body, 1, mtime=0), "gzip"
        with self._given_up_on_trouble():
            # A server that refuses may not read on; it has answered then.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body, headers)
            response = connection.getresponse()
            content = response.read()
            if response.status in (401, 403):
                self.close()  # the next connect asks for the credentials again: they may have been changed
            return Answer(response.status, content, {name.lower(): value for name, value in response.getheaders()})

    @contextlib.contextmanager
    def _given_up_on_trouble(self) -> Iterator[None]:
        """Whatever goes wrong on a connection, it is of no more use."""
        try:
            yield
        except BaseException as error:
            self.close()
            if isinstance(error, http.client.BadStatusLine) and str(error).startswith(TLS_ALERT):
                remedy = "add +https to the scheme of the backend's URL"
                raise Misconfigured(f"{self.address} speaks TLS: {remedy}") from None
            if isinstance(error, OSError | http.client.HTTPException):
                closed = self._tls is None and isinstance(error, ConnectionResetError)
                hint = "; where the server wants TLS, add +https to the URL's scheme" if closed else ""
                raise Unavailable(f"{self.address} did not answer: {_shown(error)}{hint}") from None
            raise

    def close(self) -> None:
        self._held.close()

    def _connected(self) -> http.client.HTTPConnection:
        connection = self._held.get()
        if connection is not None and _quiet(connection.sock):
            return connection
        self.close()
        if self._authorization is not None:
            self._headers["Authorization"] = self._authorization()
        where: dict[str, Any] = {"host": self._host, "port": self._port, "timeout": self._connect_seconds}
        if self._tls is None:
            connection = http.client.HTTPConnection(**where)
        else:
            connection = http.client.HTTPSConnection(**where, context=self._tls)
        connection.response_class = LimitedResponse
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise Misconfigured(
                f"{self.address}: {error.verify_message}; name the authority's certificate with ca_file="
            ) from None
        except OSError as error:
            if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
                remedy = "leave +https away from the scheme of the backend's URL, or correct its port"
                raise Misconfigured(f"{self.address} speaks no TLS: {remedy}") from None
            raise Unavailable(f"{self.address} cannot be reached: {_shown(error)}") from None
        connection.sock.settimeout(self.timeout_seconds)
        return self._held.put(connection)


def _quiet(sock: socket.socket | None) -> bool:
    """Whether an idle connection is as it was left: a server that closed it makes it readable."""
    if sock is None:
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def check(answer: Answer, address: str) -> Answer:
    """Raises what the status says about a whole request; gives back the answer to one that went well."""
    if answer.ok:
        return answer
    status = answer.status
    said = f"{address} answered {status}: {answer.text}"
    if status in (405, 501) or (status == 404 and _is_version_3(address)):  # 3 has what we call, and makes the rest
        raise Misconfigured(f"{said}; {no_influxdb(address)}{other_version(answer, address)}")
    if status == 401:
        raise Misconfigured(f"{said}; {_credentials(address)}{other_version(answer, address)}")
    if status in REMEDIES:
        raise Misconfigured(f"{said}; {REMEDIES[status]}{other_version(answer, address)}")
    if status == 413:
        raise TooLarge(said)
    if "retention policy not found" in said:
        raise Misconfigured(f"{said}; create it, or correct retention_policy= in the backend's URL")
    if status in (408, 429) or status >= 500:
        raise Unavailable(said, retry_after(answer.headers))
    if status in (400, 409, 422) and (answer.marked or _is_version_3(address)):
        raise BackendError(said)
    raise Misconfigured(f"{said}; {no_influxdb(address)}")  # a redirect, or what a proxy says


def taken(answer: Answer, address: str) -> Answer:
    """The answer to lines that were all stored, which is 204 with every version. What else says that all went well
    (a proxy's page, an application's) may have stored nothing."""
    if check(answer, address).status != 204:
        said = f"{address} answered lines with {answer.status}, where InfluxDB says 204: {answer.text}"
        raise Misconfigured(f"{said}; {no_influxdb(address)}{other_version(answer, address)}")
    return answer


def no_influxdb(address: str) -> str:
    name = "InfluxDB 3" if _is_version_3(address) else "InfluxDB"
    return f"this is no {name}: correct scheme, host and port of the backend's URL"


def _credentials(address: str) -> str:
    if address.startswith(("influxdb:", "influxdb+")):
        return "check the user and password in the backend's URL, or where password_env or password_file leads"
    return "check the token, which token_env or token_file in the backend's URL names"


def _is_version_3(address: str) -> bool:
    """Of which nothing is known about its header on errors."""
    return address.startswith("influxdb3")


def other_version(answer: Answer, address: str) -> str:
    """A hint when the server says that it is of another version than the URL's scheme."""
    version = answer.headers.get("x-influxdb-version", "").lstrip("v")
    scheme = {"1": "influxdb", "2": "influxdb2", "3": "influxdb3"}.get(version[:1])
    if scheme is None or address.partition(":")[0].removesuffix("+https") == scheme:
        return ""
    return f" (this server is InfluxDB {version}: its URL begins with {scheme}://)"


def no_json(answer: Answer, address: str) -> QueryError | Unavailable:
    """What to raise for an answer that should be JSON. Go's encoder has no JSON for a number that is infinite."""
    said = f"{address} answered no JSON: {answer.body[:100]!r}"
    if answer.status == 200 and (answer.body.startswith(b"json: ") or b"Infinity" in answer.body):
        return QueryError(f"{said}; a sum is beyond the largest double: ask fewer names, or for min, max or last")
    return Unavailable(said)
