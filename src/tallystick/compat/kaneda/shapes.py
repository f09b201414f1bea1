"""Kaneda's documents: what each of its backends stored of a record, field by field.

    {"host": "web-1", "name": "users.notifications", "value": 13, "tags": ["new_message"], …}

- A dict as value stands with its own keys in place of `value`; its `name` and `host` win over the record's, and what a
  backend adds (`app_name`, `@timestamp`, `timestamp`, `metric`, the key, given tags) wins over it.
- The kind is `metric`. Elasticsearch kept it as the mapping type, which servers from 8 on do not know.
- A record without an id of the caller's has the record's place as key, so a redelivery adds nothing.
- What a record of ours cannot hold as it was given (tags that are no texts) stands in its metadata, see `given`.

`URL?shape=kaneda` names them; for RethinkDB `shape=kaneda:tables` means a table for each kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tallystick.backends.base import Foreign
from tallystick.compat.kaneda.documents import document_of, moment_of, record_of
from tallystick.compat.kaneda.elastic import elastic
from tallystick.compat.kaneda.given import kind_of
from tallystick.compat.kaneda.points import Influx
from tallystick.records import Record


class _Shape:
    """`place` of a record and the key of its document, the same in each store."""

    name = "kaneda"
    indexes: tuple[tuple[str, ...], ...] = ()
    age = "timestamp"
    foreign: Foreign | None = None

    def place(self, record: Record) -> str | None:
        return None


class Mongo(_Shape):
    def __init__(self, collection: str, _argument: str) -> None:
        self.foreign = Foreign(
            source=collection, time="timestamp", value="value", name="name", kind="metric", tags_in="tags"
        )

    def document(self, record: Record) -> dict[str, Any]:
        made = document_of(record)
        made |= {"timestamp": moment_of(record), "metric": kind_of(record)}
        made.pop("_id", None)
        return {"_id": record.id, **made}

    def record(self, found: dict[str, Any], _place: str) -> Record:
        left = dict(found)
        return record_of(left, left.pop("_id"), left.pop("timestamp"), left.pop("metric"))


class Rethink(_Shape):
    """Into the table of the backend; with `tables`, into one for each kind."""

    def __init__(self, table: str, argument: str) -> None:
        self._tables = argument == "tables"
        self.name = "kaneda:tables" if self._tables else "kaneda"
        self.foreign = (
            None
            if self._tables
            else Foreign(source=table, time="timestamp", value="value", name="name", tags_in="tags")
        )

    def place(self, record: Record) -> str | None:
        return table_of(kind_of(record)) if self._tables else None

    def document(self, record: Record) -> dict[str, Any]:
        made = document_of(record)
        made |= {"timestamp": moment_of(record), "id": record.id}
        return made

    def record(self, found: dict[str, Any], place: str) -> Record:
        """The table is the kind; in one table for all, documents do not say it."""
        left = dict(found)
        kind = place if self._tables else "gauge" if isinstance(left.get("value"), int | float) else "event"
        return record_of(left, left.pop("id"), left.pop("timestamp"), kind)


def table_of(kind: str) -> str:
    """A kind as a table's name; what RethinkDB takes in none of them becomes `_`."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in kind)


class Log(_Shape):
    """The dict itself is the log's message."""

    def __init__(self, _place: str, _argument: str) -> None:
        """A log has one place."""

    def document(self, record: Record) -> dict[str, Any]:
        made = document_of(record)
        made["metric"] = kind_of(record)
        if record.own_id is not None:
            made["_id"] = record.own_id
        return made


SHAPES: Final[dict[str, Callable[[str, str], Any]]] = {
    "elasticsearch": elastic,
    "opensearch": elastic,
    "mongodb": Mongo,
    "rethinkdb": Rethink,
    "influxdb": Influx,
    "influxdb2": Influx,
    "log": Log,
}
