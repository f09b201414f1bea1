"""What all of Kaneda's documents have in common."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tallystick.compat.kaneda.given import host_of, kind_to, tags_of, tags_to, value_to
from tallystick.records import Header, Record

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


def record_of(found: dict[str, Any], id_: Any, moment: datetime, kind: Any, app: str = "") -> Record:
    """The record of a document, old or new, of which the store's own fields are gone already.

    Its id is the document's, so that a copy of it is one row however often it is made; its place is none.
    """
    left = dict(found)
    host, name = str(left.pop("host", "")), left.pop("name", None)
    given, metadata = tags_to(left.pop("tags", None))
    value = value_to(left["value"] if left.keys() == {"value"} else left)
    words = tuple(given) if isinstance(given, list) else ()
    return Record(
        timestamp_ns=nanoseconds(moment),
        kind=kind_to(kind, value),
        name=str(name or kind),
        value=value,
        tags=dict.fromkeys(words, "true") if words else given or {},
        words=words,
        header=Header(1, "", host, 0, app),
        metadata=metadata or {},
        own_id=str(id_),
    )


def nanoseconds(moment: datetime) -> int:
    """A naive time is of UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    delta = aware - _EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1_000
