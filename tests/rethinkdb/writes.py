"""Inserting and deleting, with the counts and messages of a real server."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from tests.rethinkdb.data import Failure, Table, hashable, printed, shown, type_name

STATS = ("deleted", "errors", "inserted", "replaced", "skipped", "unchanged")


def insert(table: Table, documents: list[dict[str, Any]], conflict: Any, changes: Any) -> dict[str, Any]:
    """`conflict`: "error", "replace", or a function of id, old and new. `changes`: `return_changes`."""
    stats: dict[str, Any] = dict.fromkeys(STATS, 0)
    made: list[dict[str, Any]] = []
    generated = []
    for document in documents:
        if "id" not in document:
            document["id"] = str(uuid.uuid4())
            generated.append(document["id"])
        old = table.rows.get(hashable(document["id"]))
        try:
            check_key(document["id"])
            new = _resolved(old, document, conflict)
        except Failure as error:
            stats["errors"] += 1
            stats.setdefault("first_error", error.message)
            made.append({"error": error.message, "new_val": old, "old_val": old})
            continue
        outcome = "inserted" if old is None else "unchanged" if old == new else "replaced"
        stats[outcome] += 1
        table.rows[hashable(new["id"])] = new
        if outcome != "unchanged" or changes == "always":
            made.append({"new_val": new, "old_val": old})
    if generated:
        stats["generated_keys"] = generated
    if changes:
        stats["changes"] = made if changes == "always" else [change for change in made if "error" not in change]
    return stats


def _resolved(old: Any, new: Any, conflict: str | Callable[..., Any]) -> Any:
    if old is None or conflict == "replace":
        return new
    if conflict == "error":
        both = printed(shown(old)), printed(shown(new))
        raise Failure(FAILED_ROW, "Duplicate primary key `id`:\n" + "\n".join(both))
    assert callable(conflict)
    return conflict(new["id"], old, new)


FAILED_ROW = 3_000_000


def check_key(key: Any) -> None:
    if type_name(key) in ("NULL", "OBJECT"):
        kinds = "a number, string, bool, pseudotype or array"
        raise Failure(
            FAILED_ROW, f"Primary keys must be either {kinds} (got type {type_name(key)}):\n{printed(shown(key))}"
        )
    if isinstance(key, str):
        if "\0" in key:
            text, offset = key.replace("\0", "\\x00"), len(key.partition("\0")[0].encode())
            message = f'String "{text}" (truncated) contains NULL byte at offset {offset} in index key.'
            raise Failure(FAILED_ROW, message)
        if len(key.encode()) > 127:
            raise Failure(FAILED_ROW, f"Primary key too long (max 127 characters): {printed(key)}")


def delete(table: Table, documents: list[dict[str, Any]]) -> dict[str, Any]:
    stats: dict[str, Any] = dict.fromkeys(STATS, 0)
    for document in documents:
        stats["deleted"] += table.rows.pop(hashable(document["id"]), None) is not None
    return stats
