"""A batch on its way into a collection of MongoDB, and what became of each record.

- One unordered `insert` takes the records without an id of their own; one bulk of replacements takes the others.
- The verdict on each document is read from the reply's write errors (`nInserted` is wrong on some servers).
- What cannot be a document is found before anything is sent, and costs no other record anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tallystick.backends.base import ACCEPTED, WriteResult
from tallystick.backends.mongodb.connection import BLAMES_THE_RECORD, DUPLICATE, driver, encoder
from tallystick.backends.shapes import Documents
from tallystick.errors import Unavailable
from tallystick.records import Batch, Record


def write(collection: Any, batch: Batch, shape: Documents, address: str) -> WriteResult:
    """Raises the driver's errors, and `Unavailable` without a majority."""
    way = _Way(collection, batch, address, shape.age)
    plain, own = way.encode(shape.document)
    if plain:
        way.insert(plain)
    if own:
        way.replace(own)
    return WriteResult(way.rejected, way.kept) if way.rejected or way.kept else ACCEPTED


class _Way:
    """All numbers are indices in the batch."""

    def __init__(self, collection: Any, batch: Batch, address: str, age: str) -> None:
        self._collection = collection
        self._age = age
        self._records = batch.records
        self._address = address
        self._documents: dict[int, Any] = {}
        self.rejected: dict[int, str] = {}
        self.kept: dict[int, str] = {}

    def encode(self, document: Callable[[Record], dict[str, Any]]) -> tuple[list[int], list[int]]:
        """Which ones are documents now: those without, and those with an id of their own."""
        raw, refusals = encoder()
        plain: list[int] = []
        own: list[int] = []
        for index, record in enumerate(self._records):
            try:
                self._documents[index] = raw(document(record))
            except refusals as error:
                self.rejected[index] = f"{type(error).__name__}: {error}"
            else:
                (own if record.replaces else plain).append(index)
        return plain, own

    def insert(self, indices: list[int]) -> None:
        try:
            self._collection.insert_many([self._documents[index] for index in indices], ordered=False)
        except driver().errors.BulkWriteError as error:
            self._judge(error, indices)

    def replace(self, indices: list[int]) -> None:
        """Of several contents of an id the newest is sent, of equally new ones the last. The others share its fate."""
        newest: dict[str, int] = {}
        for index in sorted(indices, key=lambda index: self._records[index].timestamp_ns):
            newest[self._records[index].id] = index
        refused = self._replace(list(newest.values()), upsert=True)
        if refused:  # by a newer content, or by one that somebody else inserted at this moment, which may be older
            self._replace(refused, upsert=False)
        for index in indices:
            sent = newest[self._records[index].id]
            if index != sent and (sent in self.rejected or sent in self.kept):
                self.kept[index] = "a newer content of the same id was not stored"

    def _replace(self, indices: list[int], *, upsert: bool) -> list[int]:
        """Put documents in the place of those that are not newer; which ones were duplicates."""
        pymongo, operations = driver(), []
        for index in indices:
            document = self._documents[index]
            older = {"_id": document["_id"], self._age: {"$not": {"$gt": document[self._age]}}}
            operations.append(pymongo.ReplaceOne(older, document, upsert=upsert))
        try:
            self._collection.bulk_write(operations, ordered=False)
        except pymongo.errors.BulkWriteError as error:
            return self._judge(error, indices)
        return []

    def _judge(self, error: Any, indices: list[int]) -> list[int]:
        """Sort what a bulk of `indices` says; which ones were duplicates."""
        duplicates = []
        for each in error.details.get("writeErrors", ()):
            index = indices[each["index"]]
            if each["code"] == DUPLICATE and _of_the_id(each):
                duplicates.append(index)
            else:
                verdicts = self.rejected if each["code"] in BLAMES_THE_RECORD else self.kept
                verdicts[index] = f"{each['errmsg']} (code {each['code']})"
        if late := error.details.get("writeConcernErrors"):
            raise Unavailable(f"{self._address}: {late[0].get('errmsg', 'not yet durable')}")
        return duplicates


def _of_the_id(error: Any) -> bool:
    """Whether a duplicate is one of `_id`: the same record. One of a unique index that a person added is another."""
    pattern = error.get("keyPattern")
    if pattern is not None:
        return bool(list(pattern) == ["_id"])
    index = re.search(r"index: (\S+)", str(error.get("errmsg", "")))
    return index is None or "_id_" in index[1]
