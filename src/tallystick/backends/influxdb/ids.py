"""One row for each id of the caller's, in a store that can only add points.

Each version of such a record is a point of its own. After writing some, we look for all versions that the store has of
their ids, and delete every one that is older than another: by time, and of the same nanosecond by segment and place.

What holds: the newest version is never deleted, since only a newer one that was seen there could cause it. Once all
writers have returned it is the only one: whoever wrote an older version looked after writing it, and whoever wrote the
newest looked after that. Until then a reader may see two versions, for the moment between writing and deleting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from tallystick.backends.influxdb.lines import place_of, shelf_of
from tallystick.backends.influxdb.servers import InfluxqlServer, identifier, literal
from tallystick.backends.influxdb.text import encoded, tag_to_value
from tallystick.records import Record

_IDS_A_STATEMENT: Final = 50
_STATEMENTS_A_CALL: Final = 20


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
    for versions in _stored(server, {encoded(own_id): shelf_of(own_id) for own_id in own_ids}).values():
        for old in sorted(versions, key=lambda version: version[:3])[:-1]:
            server.delete(old.measurement, old.tags, old.at, old.at)


def _stored(server: InfluxqlServer, shelves: dict[str, str]) -> dict[str, list[_Version]]:
    measurements = [name for name, fields in server.fields().items() if "id" in fields and "timestamp_ns" in fields]
    found: dict[str, list[_Version]] = defaultdict(list)
    by_shelf: dict[str, list[str]] = defaultdict(list)
    for text, shelf in shelves.items():
        by_shelf[shelf].append(text)
    statements = [
        _lookup(measurements, shelf, texts[at : at + _IDS_A_STATEMENT])
        for shelf, texts in by_shelf.items()
        for at in range(0, len(texts) if measurements else 0, _IDS_A_STATEMENT)
    ]
    for at in range(0, len(statements), _STATEMENTS_A_CALL):
        for answer in server.ask(statements[at : at + _STATEMENTS_A_CALL]):
            for rows in answer:
                tags = {key: value for key, value in rows.tags.items() if value}
                for moment, text, timestamp_ns, origin in rows.values:
                    segment = origin.rpartition(" ")[0] if origin is not None else tag_to_value(tags["writer"])
                    place = place_of(moment, segment, int(tags.get("part", 0)), bounded=origin is not None)
                    found[text].append(_Version(timestamp_ns, segment, place, moment, rows.name, tags))
    return found


def _lookup(measurements: list[str], shelf: str, texts: list[str]) -> str:
    sources = ", ".join(map(identifier, measurements))
    one_of = " OR ".join(f'"id" = {literal(text)}' for text in texts)
    return (
        f'SELECT "id", "timestamp_ns", "origin" FROM {sources}'  # noqa: S608  (all quoted)
        f""" WHERE "shelf" = '{shelf}' AND ({one_of}) GROUP BY *"""
    )
