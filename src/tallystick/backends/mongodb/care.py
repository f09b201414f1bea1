"""Looking after a MongoDB collection: its indexes, what is in it, and forgetting the old."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from tallystick.backends.base import Line

INDEXES: Final = (("name", "timestamp_ns"), ("timestamp_ns",))
TTL: Final = "timestamp_ttl"
SLICE: Final = 1_000
"""Documents that one delete of `prune` takes, at most."""


def ensure(database: Any, name: str, ttl_days: int, indexes: Iterable[tuple[str, ...]] = INDEXES) -> list[str]:
    """Create the indexes that are missing; says what was done. With `ttl_days`, the server forgets by itself."""
    collection = database[name]
    there = collection.index_information()
    done = []
    for fields in indexes:
        if _name(fields) not in there:
            collection.create_index([(field, 1) for field in fields], name=_name(fields))
            done.append(f"created the index {_name(fields)} on {collection.full_name}")
    if not ttl_days:
        return done
    seconds, after = ttl_days * 86_400, f"documents leave {ttl_days} days after their time"
    if TTL not in there:
        collection.create_index([("timestamp", 1)], name=TTL, expireAfterSeconds=seconds)
        done.append(f"created the index {TTL}: {after}")
    elif there[TTL].get("expireAfterSeconds") != seconds:
        database.command("collMod", name, index={"name": TTL, "expireAfterSeconds": seconds})
        done.append(f"changed the index {TTL}: {after}")
    return done


def script(database: str, name: str, ttl_days: int) -> str:
    """What an administrator runs in the shell for a user who may not create indexes."""
    wanted: list[tuple[Any, Any]] = [(dict.fromkeys(fields, 1), {"name": _name(fields)}) for fields in INDEXES]
    if ttl_days:
        wanted.append(({"timestamp": 1}, {"name": TTL, "expireAfterSeconds": ttl_days * 86_400}))
    place = f"db.getSiblingDB({json.dumps(database)}).getCollection({json.dumps(name)})"
    return "\n".join(f"{place}.createIndex({json.dumps(keys)}, {json.dumps(more)})" for keys, more in wanted)


def check(collection: Any, indexes: Iterable[tuple[str, ...]] = INDEXES) -> list[Line]:
    there = collection.index_information()
    return [
        Line(ok=True, what=f"index {_name(fields)}")
        if _name(fields) in there
        else Line(ok=False, what=f"index {_name(fields)} is missing", remedy="run `tallystick setup`")
        for fields in indexes
    ]


def _name(fields: tuple[str, ...]) -> str:
    return "_".join(f"{field}_1" for field in fields)


def size(database: Any, name: str) -> dict[str, Any]:
    collection = database[name]
    ends = [next(iter(collection.find().sort("timestamp_ns", way).limit(1)), None) for way in (1, -1)]
    oldest, newest = (None if end is None else end["timestamp_ns"] / 1e9 for end in ends)
    return {
        "name": collection.full_name,
        "records": collection.count_documents({}),
        "size_bytes": database.command("collStats", name).get("size"),
        "oldest": oldest,
        "newest": newest,
    }


def prune(collection: Any, before_ns: int) -> int:
    """In slices, so that no delete takes long and other writers go on meanwhile."""
    gone = 0
    while (later := _after_a_slice(collection, {"timestamp_ns": {"$lt": before_ns}}, "timestamp_ns")) is not None:
        moment = later["timestamp_ns"]
        deleted = int(collection.delete_many({"timestamp_ns": {"$lt": moment}}).deleted_count)
        if not deleted:  # the oldest documents are more than a slice of one moment: it is cut by their ids
            old: dict[str, Any] = {"timestamp_ns": moment}
            if (later := _after_a_slice(collection, old, "_id")) is not None:
                old["_id"] = {"$lt": later["_id"]}
            deleted = int(collection.delete_many(old).deleted_count)
        gone += deleted
    return gone + int(collection.delete_many({"timestamp_ns": {"$lt": before_ns}}).deleted_count)


def _after_a_slice(collection: Any, fitting: dict[str, Any], order: str) -> dict[str, Any] | None:
    """The document before which a slice of the fitting ones stands in that order; None when there are no more."""
    found = collection.find(fitting, {"_id": 1, "timestamp_ns": 1}).sort(order, 1).skip(SLICE).limit(1)
    return next(iter(found), None)
