"""What all of Kaneda's documents have in common."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tallystick.compat.kaneda.given import host_of, tags_of
from tallystick.records import Record

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def payload(host: str, name: str, value: Any, tags: Any) -> dict[str, Any]:
    """What all of Kaneda's documents begin with."""
    made: dict[str, Any] = {"host": host, "name": name}
    if isinstance(value, dict):
        made.update(value)
    else:
        made["value"] = value
    if tags:
        made["tags"] = tags
    return made


def document_of(record: Record) -> dict[str, Any]:
    return payload(host_of(record), record.name, record.value, tags_of(record))


def moment_of(record: Record) -> datetime:
    return _EPOCH + timedelta(microseconds=record.timestamp_ns // 1000)


def now_day() -> str:
    return f"{datetime.now(UTC):%Y.%m.%d}"
