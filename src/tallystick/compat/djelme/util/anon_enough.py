"""Opaque keys: the same for the same parts, and no way back.

>>> len(opaque_key(["hello"]))
80
"""

from __future__ import annotations

import base64
import datetime  # noqa: ICN001 (its users name it so)
import hashlib
import json
from collections.abc import Iterable

from django.utils import timezone

__all__ = ["opaque_key", "opaque_sessionhour_id"]


def opaque_key(key_parts: Iterable[object]) -> str:
    """Base85 of blake2b over the JSON list of the parts as texts."""
    parts = [str(part) for part in key_parts]
    if not parts:
        raise ValueError("opaque_key expects at least one key part")
    return base64.b85encode(hashlib.blake2b(json.dumps(parts).encode()).digest()).decode()


def opaque_sessionhour_id(
    *,
    client_session_id: str = "",
    user_id: str = "",
    request_host: str = "",
    request_useragent: str = "",
    timestamp: datetime.datetime | None = None,
) -> str:
    """A session in one hour of UTC: of the user, else of the client's session, else of host and user agent."""
    if user_id:
        who = [user_id]
    elif client_session_id:
        who = [client_session_id]
    elif request_host and request_useragent:
        who = [request_host, request_useragent]
    else:
        raise ValueError("not enough to make a session id")
    at = timestamp or timezone.now().astimezone(datetime.UTC)  # naive, with USE_TZ=False, it is the local time
    at = at if at.tzinfo is None else at.astimezone(datetime.UTC)
    return opaque_key([*who, at.date().isoformat(), at.hour])
