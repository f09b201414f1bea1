"""Who used something, as an opaque id: the same for one session in one hour, and no way back from it."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b

import msgspec

from tallystick.errors import RecordError
from tallystick.typed.options import SessionKey
from tallystick.typed.periods import period_of


def session_of(
    name: str,
    moment: object,
    key: SessionKey | None,
    user_id: object,
    client_session_id: object,
    host: str | None,
    user_agent: str | None,
) -> str:
    """Raises `RecordError` when nothing tells the session."""
    if user_id is not None:
        who = ["user", str(user_id)]
    elif client_session_id is not None:
        who = ["session", str(client_session_id)]
    elif host is not None and user_agent is not None:
        who = ["host", host, user_agent]
    else:
        raise RecordError("field", f"{name}.session", "give user_id, client_session_id, or host and user_agent")
    if not isinstance(moment, datetime):
        raise RecordError("field", f"{name}.timestamp", f"{moment!r:.80} is no datetime")
    at = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    secret = key(at) if callable(key) else key or b""
    secret = secret.encode() if isinstance(secret, str) else secret
    secret = secret if len(secret) <= 64 else blake2b(secret).digest()
    data = msgspec.json.encode([*who, period_of(at, "hour")])
    return blake2b(data, key=secret, digest_size=20).hexdigest()


def rotating(secret: str | bytes, period: str = "day") -> Callable[[datetime], bytes]:
    """A key for each period, derived from one secret: `session_key = rotating(SECRET, "month")`."""
    raw = secret.encode() if isinstance(secret, str) else secret

    def key(moment: datetime) -> bytes:
        return hmac.digest(raw, period_of(moment, period).encode(), "sha256")

    return key
