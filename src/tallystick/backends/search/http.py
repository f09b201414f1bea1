"""One request to a search server, and what the answer to a whole request means.

What a driver adds is a `Wire`: it carries bytes and raises `Unavailable` when no answer came. All else (statuses,
JSON, errors) is the same for Elasticsearch and OpenSearch, and is here. Requests and answers are plain JSON: servers of
every version take and give that in their own version's manner, so no driver has to be of the server's version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from tallystick.backends._http import retry_after
from tallystick.codec import encode
from tallystick.errors import BackendError, Misconfigured, TooLarge, Unavailable

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

Json = dict[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """`headers` have names in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class Wire(Protocol):
    """A driver's connections to one cluster."""

    def send(
        self, method: str, target: str, body: bytes | None, content_type: str, timeout_seconds: float
    ) -> Answer: ...

    def close(self) -> None: ...


class Refused(BackendError):
    """The server refused a whole request as wrong. `kind` is its word for the reason (`parsing_exception`, …)."""

    def __init__(self, message: str, kind: str, detail: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.detail = detail


class Server:
    """Asks through a wire. `address` names the server to people; a call may take `timeout_seconds`."""

    def __init__(self, wire: Wire, address: str, timeout_seconds: float) -> None:
        self._wire = wire
        self.address = address
        self.timeout_seconds = timeout_seconds

    def ask(self, method: str, target: str, body: Any = None, *, timeout_seconds: float | None = None) -> Any:
        """The answer's JSON; None where what was asked for does not exist (404)."""
        raw = None if body is None else encode(body)
        answer = self._wire.send(method, target, raw, JSON, timeout_seconds or self.timeout_seconds)
        if answer.status == 404 and method in ("GET", "HEAD", "DELETE"):
            return None
        self.check(answer)
        return self._read(answer)

    def bulk(self, target: str, body: bytes) -> Answer:
        answer = self._wire.send("POST", target, body, NDJSON, self.timeout_seconds)
        self.check(answer)
        return answer

    def close(self) -> None:
        self._wire.close()

    def _read(self, answer: Answer) -> Any:
        try:
            return msgspec.json.decode(answer.body) if answer.body else {}
        except (ValueError, RecursionError):
            raise Unavailable(f"{self.address} answered something else than JSON: {answer.body[:100]!r}") from None

    def check(self, answer: Answer) -> None:
        """Raises what the status says about the whole request."""
        status = answer.status
        if status < 300:
            return
        kind, reason = explain(answer.body)
        said = f"{self.address} answered {status}: {reason or kind or 'nothing'}"
        if status == 401:
            raise Misconfigured(f"{said}; check the user and password or the key in the backend's URL")
        if status == 403:
            remedy = (
                "lift the block" if "block" in kind else "give the user the right, see the how-to page's permissions"
            )
            raise Misconfigured(f"{said}; {remedy}")
        if status == 413:
            raise TooLarge(said)
        if status in (408, 429) or status >= 500:
            raise Unavailable(said, retry_after(answer.headers))
        if status == 400 and kind:  # a server says what kind of error it is; a proxy's page does not
            raise Refused(said, kind, f"{kind} {answer.body!r}")
        raise Misconfigured(
            f"{said}; the backend's URL must lead to the search server itself, with its scheme and port"
        )


def explain(body: bytes) -> tuple[str, str]:
    """The server's word for an error and its reason; of an answer that is not the server's (a proxy's), its start."""
    try:
        error = msgspec.json.decode(body)["error"]
        if isinstance(error, str):
            return "", error
        causes = [error, *error.get("root_cause", [])[:1]]
        while isinstance(causes[-1].get("caused_by"), dict) and len(causes) < 6:
            causes.append(causes[-1]["caused_by"])
        reasons = dict.fromkeys(str(cause.get("reason")) for cause in causes if cause.get("reason"))
        return str(causes[0].get("type") or ""), "; ".join(reasons)[:1_000]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", body[:200].decode("utf-8", "replace")
