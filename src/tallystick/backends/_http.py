"""HTTP's answers, for the stores that are spoken to by it: a limit on the whole of each, and `Retry-After`.

urllib3's read timeout starts anew with every piece that arrives, so an answer that trickles in a byte a second would
hold its caller for hours. Here the timeout of a request is a limit on all of its answer, head and body together.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from typing import Any


def limit_answers(pool: Any, connect_seconds: float) -> None:
    """Make the connections that a urllib3 pool opens from now on keep to the limit, and to this one for connecting."""
    base: Any = pool.ConnectionCls

    class LimitedConnection(base):  # type: ignore[misc]  # the driver's own class, known when it is there
        response_class = LimitedResponse

        def connect(self) -> None:
            call_seconds: float | None = self.timeout
            self.timeout: float | None = min(connect_seconds, call_seconds or connect_seconds)
            try:
                super().connect()
            finally:
                self.timeout = call_seconds
            self.sock.settimeout(call_seconds)

    pool.ConnectionCls = LimitedConnection


class LimitedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        seconds = sock.gettimeout()
        if seconds is not None:
            self.fp.close()
            self.fp = io.BufferedReader(_LimitedReader(sock, seconds))


class _LimitedReader(io.RawIOBase):
    """What arrives at the socket, until the time is over."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._socket = sock
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the answer was not complete after {self._seconds:g} s")
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            if self._socket.fileno() >= 0:
                self._socket.settimeout(self._seconds)
        super().close()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The header `Retry-After` in seconds from now, be it a number or a date; None when there is none."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
