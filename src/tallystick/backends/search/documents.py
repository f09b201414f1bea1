"""A shape of documents (`backends/shapes.py`) as the lines of a bulk request.

- A record without an id of its own is *created* under its id: a second delivery meets the first, which stays.
- A record with an id of the caller's replaces the document of that id in its index, unless that one is newer.
"""

from __future__ import annotations

from typing import Any, Protocol

from tallystick.backends.base import Foreign
from tallystick.backends.search.shape import REFUSALS
from tallystick.codec import encode
from tallystick.records import Batch, Record


class Documents(Protocol):
    """As in `backends/shapes.py`, of which the writer here needs less. `place` names the index."""

    name: str
    foreign: Foreign | None

    def place(self, record: Record) -> str | None: ...
    def document(self, record: Record) -> Any:
        """What is stored, `_id` included."""


class Lines:
    """`place` is the index of records that have none."""

    def __init__(self, shape: Documents, place: str) -> None:
        self.name = shape.name
        self.foreign = shape.foreign
        for power in ("prepare", "learn", "record"):
            if (method := getattr(shape, power, None)) is not None:
                setattr(self, power, method)
        self._shape = shape
        self._place = place

    def lines(self, batch: Batch) -> tuple[str, list[str], list[int], dict[int, str]]:
        lines: list[str] = []
        sent: list[int] = []
        refused: dict[int, str] = {}
        most = self._place
        for index, record in enumerate(batch.records):
            try:
                document = self._shape.document(record)
                place = self._shape.place(record) or self._place
                about: dict[str, Any] = {"_index": place, "_id": document.pop("_id")}
                if record.replaces:
                    action = {"index": {**about, "version": record.timestamp_ns, "version_type": "external_gte"}}
                else:
                    action = {"create": about}
                lines.append(f"{encode(action).decode()}\n{encode(document).decode()}\n")
            except REFUSALS as error:
                refused[index] = f"{type(error).__name__}: {error}"
                continue
            sent.append(index)
            most = place
        return most, lines, sent, refused
