"""The package's documents in Elasticsearch: `?shape=djelme`.

Index, id and content are computed in the call, since settings may change before delivery; a record carries them, and
any agent writes them without the application's code. Its indices are made by the type's own template.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tallystick.backends.base import Foreign
from tallystick.backends.search.documents import Lines
from tallystick.records import Record

INDEX: Final = "index"
ID: Final = "id"


class Documents:
    name = "djelme"
    foreign: Foreign | None = None
    age = "timestamp"
    indexes: tuple[tuple[str, ...], ...] = ()

    def place(self, record: Record) -> str | None:
        index: str = record.metadata[INDEX]
        return index

    def document(self, record: Record) -> dict[str, Any]:
        if not isinstance(record.value, dict) or INDEX not in record.metadata or ID not in record.metadata:
            raise ValueError("this is no record of tallystick.compat.djelme")
        return {**record.value, "_id": record.metadata[ID]}


def _lines(index: str, _argument: str) -> Lines:
    return Lines(Documents(), index)


SHAPES: Final[dict[str, Callable[[str, str], Any]]] = {"elasticsearch": _lines}
