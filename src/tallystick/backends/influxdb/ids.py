# ruff: noqa: S608  (pieces of InfluxQL are put together here; every name and text in them is quoted)
"""One row for each id of the caller's, in a store that can only add points.

Each version of such a record is a point of its own. After writing some, we look for all versions that the store has of
their ids, and delete every one that is older than another: by time, and of the same nanosecond by segment and place.

What holds
- The newest version is never deleted, since only a newer one that was seen there could cause it. Once all writers have
  returned it is the only one: whoever wrote an older version looked after writing it, and whoever wrote the newest
  looked after that. Until then a reader may see two versions, for the moment between writing and deleting.
- So each look is a new one, at the names, too: with names remembered from before, two writers could miss each other.
- A version may stand under any name. The index tells which names have a `shelf` of the ids at all, and no call asks of
  more than `_NAMES_A_CALL` of them: beside many names a look takes many calls, each of them short. What a call found
  older is gone then, so one that fails later takes back nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tallystick.backends.influxdb.influxql import InfluxqlServer, identifier
from tallystick.backends.influxdb.lines import place_of, shelf_of
from tallystick.backends.influxdb.text import encoded, tag_to_value
from tallystick.records import Record

_NAMES_A_CALL: Final = 100
_CHARACTERS_A_CALL: Final = 16_000
"""Of the ids that one call asks for; a single one may be as long."""

_FIELDS: Final = '"id"::string, "timestamp_ns"::integer, "origin"::string'
"""Each with its type: a field has one in an answer, and another tool's of that name would choose it for all names."""


class _Version(NamedTuple):
    timestamp_ns: int
    segment: str
    place: int
    at: int
    measurement: str
    tags: dict[str, str]


def superseded(records: list[Record]) -> set[int]:
    """The indices of the records of one segment that a newer version among them makes superfluous."""
    newest: dict[str, int] = {}
    for index, record in enumerate(records):
        if record.own_id is not None:
            before = newest.get(record.own_id)
            if before is None or _age(record) >= _age(records[before]):
                newest[record.own_id] = index
    kept = set(newest.values())
    return {index for index, record in enumerate(records) if record.own_id is not None and index not in kept}


def _age(record: Record) -> tuple[int, int]:
    return record.timestamp_ns, record.offset


def delete_older(server: InfluxqlServer, own_ids: Iterable[str]) -> None:
    """Delete all versions of these ids but the newest of each."""
    by_shelf: dict[str, list[str]] = defaultdict(list)
    for own_id in own_ids:
        by_shelf[shelf_of(own_id)].append(encoded(own_id))
    for shelf, texts in by_shelf.items():
        names = _names(server, shelf)
        for some in _slices(texts):
            for versions in _stored(server, shelf, names, some).values():
                for old in sorted(versions, key=lambda version: version[:3])[:-1]:
                    server.delete(old.measurement, old.tags, old.at, old.at)


def _names(server: InfluxqlServer, shelf: str) -> list[str]:
    """Those that have records on the shelf, or had: the index may remember them."""
    statement = f"""SHOW MEASUREMENTS WHERE "shelf" = '{shelf}'"""
    return [row[0] for rows in server.ask([statement])[0] for row in rows.values]


def _slices(texts: list[str]) -> Iterator[list[str]]:
    some: list[str] = []
    characters = 0
    for text in texts:
        if some and characters + len(text) > _CHARACTERS_A_CALL:
            yield some
            some, characters = [], 0
        some.append(text)
        characters += len(text) + 1
    if some:
        yield some


def _stored(server: InfluxqlServer, shelf: str, names: list[str], texts: list[str]) -> dict[str, list[_Version]]:
    found: dict[str, list[_Version]] = {text: [] for text in texts}
    condition = f"""WHERE "shelf" = '{shelf}' AND "writer" != '' AND "id"::string =~ {_one_of(texts)}"""
    for first in range(0, len(names), _NAMES_A_CALL):
        sources = ", ".join(map(identifier, names[first : first + _NAMES_A_CALL]))
        (answer,) = server.ask([f"SELECT {_FIELDS} FROM {sources} {condition} GROUP BY *"])
        for rows in answer:
            tags = {key: value for key, value in rows.tags.items() if value}
            for moment, text, timestamp_ns, origin in rows.values:
                if timestamp_ns is None:  # another tool's
                    continue
                segment = origin.rpartition(" ")[0] if origin is not None else tag_to_value(tags["writer"])
                place = place_of(moment, segment, int(tags.get("part", 0)), bounded=origin is not None)
                found[text].append(_Version(timestamp_ns, segment, place, moment, rows.name, tags))
    return found


def _one_of(texts: list[str]) -> str:
    """A regular expression that these texts match alone.

    The servers turn one that they see through into a chain of comparisons, which takes them some hundred times as long
    under each name; through the empty group they do not see.
    """
    alternatives = "|".join(re.sub("[^0-9A-Za-z]", lambda found: f"\\x{{{ord(found[0]):x}}}", text) for text in texts)
    return f"/^(?:{alternatives})()$/"
