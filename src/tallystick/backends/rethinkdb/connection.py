"""A connection to RethinkDB with time limits on everything, and the driver's errors as the library's.

The driver waits for ever for a reply, and forgets its limit once the first bytes of one have come. So the socket below
it is ours: connecting, TLS, sending, and each reply as a whole have their limit. Terms, handshake, frames and cursors
are the driver's.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any, Final

from tallystick import plugins
from tallystick.backends._url import ServerUrl, place, tls_context
from tallystick.errors import Misconfigured, TooLarge, Unavailable

TIMEOUT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0
LONGEST_GREETING_BYTES: Final = 64 * 1024


def driver() -> Any:
    """The parts of the package rethinkdb that we use: `r`, `ast`, `errors`, `net`. Raises `MissingExtra`."""
    try:
        from rethinkdb import RethinkDB, ast, errors, net
    except ImportError as error:
        raise plugins.missing_extra("rethinkdb", error) from error
    return SimpleNamespace(r=RethinkDB(), ast=ast, errors=errors, net=net)


class Wire:
    """What the driver calls its socket: `sendall`, `recvall`, `is_open`, `close`. Raises `OSError`, never hangs."""

    def __init__(self, host: str, port: int, *, tls: Any, timeout_seconds: float, connect_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._deadline = time.monotonic() + connect_seconds
        self._socket: socket.socket | None = socket.create_connection((host, port), connect_seconds)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        except BaseException:
            self.close()
            raise

    def greet(self, handshake: Any) -> None:
        """The driver's handshake, within the time for connecting."""
        handshake.reset()
        message = handshake.next_message(None)
        while message is not None:
            if message:
                self._send(message)
            message = handshake.next_message(self._greeting())

    def _greeting(self) -> bytes:
        reply = bytearray()
        try:
            while (sign := self.recvall(1, None)) != b"\0":
                reply += sign
                if len(reply) > LONGEST_GREETING_BYTES:
                    raise ConnectionError("what answers there is no RethinkDB server")
        except TimeoutError:
            raise TimeoutError("it took the connection, but did not greet in time as RethinkDB does") from None
        return bytes(reply)

    def expect_reply(self) -> None:
        """From now on, the next reply has the time of one call."""
        self._deadline = time.monotonic() + self._timeout_seconds

    def sendall(self, data: bytes) -> None:
        self.expect_reply()
        self._send(data)

    def _send(self, data: bytes) -> None:
        self._limited().sendall(data)

    def recvall(self, length: int, deadline: object) -> bytes:
        """Exactly so many bytes. The driver's own deadline is of no matter here."""
        parts = []
        while length:
            part = self._limited().recv(min(length, 1 << 20))
            if not part:
                raise ConnectionResetError("the server closed the connection")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _limited(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer in time")
        self._socket.settimeout(left)
        return self._socket

    def is_open(self) -> bool:
        return self._socket is not None

    def close(self) -> None:
        gone, self._socket = self._socket, None
        if gone is not None:
            with suppress(OSError):
                gone.close()


def connect(url: ServerUrl, address: str) -> Any:
    """A connection of the driver's to the first of the hosts that answers. Raises `MissingExtra`, `Misconfigured`,
    `Unavailable`."""
    parts = driver()
    options = url.options
    seconds = float(options.get("timeout_seconds", TIMEOUT_SECONDS))
    connecting = float(options.get("connect_timeout_seconds", min(CONNECT_SECONDS, seconds)))
    tls = tls_context(options) if options.get("tls") or options.get("ca_file") else None

    class Instance(parts.net.ConnectionInstance):  # type: ignore[misc, name-defined]
        """The driver's own, on our wire."""

        def connect(self, timeout: float) -> Any:
            parent = self._parent
            self._socket = Wire(parent.host, parent.port, tls=tls, timeout_seconds=seconds, connect_seconds=timeout)
            try:
                self._socket.greet(parent.handshake)
            except BaseException:
                self._socket.close()
                raise
            return parent

        def _read_response(self, query: Any, deadline: object = None) -> Any:
            self._socket.expect_reply()
            return super()._read_response(query, deadline)

    password = url.password.reveal() if url.password else ""
    reasons = []
    for host, port in url.hosts:
        try:
            connection = parts.net.Connection(
                Instance, host, port, None, None, url.user or "admin", password, connecting / len(url.hosts), {}, 10
            )
            connection.reconnect(noreply_wait=False)
            return connection
        except parts.errors.ReqlAuthError as error:
            raise Misconfigured(f"{address}: {error.message}; correct user and password") from None
        except ssl.SSLCertVerificationError as error:
            cure = "name the authority that signed the server's certificate with ca_file="
            raise Misconfigured(f"{address}: {error.verify_message}; {cure}") from None
        except (OSError, ValueError, LookupError, parts.errors.ReqlDriverError) as error:
            if any(sign in str(error) for sign in ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")):
                cure = "name a certificate that the server takes with cert_file= and key_file="
                raise Misconfigured(f"{address}: {error}; {cure}") from None
            if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
                cure = "leave tls=yes and ca_file= away, or correct its port"
                raise Misconfigured(f"{address}: {place(host, port)} speaks no TLS; {cure}") from None
            closed = tls is None and isinstance(error, ConnectionResetError)
            hint = " (where the server wants TLS, add tls=yes)" if closed else ""
            reasons.append(f"{place(host, port)}: {str(error) or type(error).__name__}{hint}")
    raise Unavailable(f"{address}: cannot connect to {'; '.join(reasons)}")


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Only what blames a record (`ReqlQueryLogicError`, a write hook's `ReqlUserError`) goes on as it is: then the
    agent bisects the batch."""
    errors = driver().errors
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{address}: {str(error) or type(error).__name__}") from error
    except errors.ReqlPermissionError as error:
        raise Misconfigured(f"{address}: {error.message}; grant the user read, write and config") from None
    except errors.ReqlOpFailedError as error:
        if "does not exist" in error.message:
            raise Misconfigured(f"{address}: {error.message} Run `tallystick setup`.") from None
        raise Unavailable(f"{address}: {error.message}") from None
    except errors.ReqlOpIndeterminateError as error:
        raise Unavailable(f"{address}: {error.message}") from None
    except errors.ReqlResourceLimitError as error:
        raise TooLarge(f"{address}: {error.message}") from None
    except (errors.ReqlQueryLogicError, errors.ReqlUserError):
        raise
    except errors.ReqlError as error:
        raise Unavailable(f"{address}: {error.message}") from None
