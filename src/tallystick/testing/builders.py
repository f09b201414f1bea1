"""Records and batches for tests, as a spool would hand them out."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tallystick.codec import encode_header, record_line
from tallystick.records import COUNTER, EVENT, GAUGE, TIMING, Batch, Header, Record, Tags

NOON_NS: Final = 1_749_988_800_000_000_000
"""2025-06-15 12:00:00 UTC: the moment around which the contract's records happen."""

SECOND_NS: Final = 1_000_000_000


def at(seconds: float) -> int:
    """Nanoseconds since the epoch, so many seconds after `NOON_NS`."""
    return NOON_NS + round(seconds * SECOND_NS)


def make_batch(
    *records: Record,
    segment: str | None = None,
    start: int | None = None,
    host: str = "host-1",
    pid: int = 4242,
    app: str = "contract",
    tags: Tags | None = None,
) -> Batch:
    """A batch of these records, put into a segment of their own (or the one named), one after the other.

    `start` is the byte offset of the first; without it, the first follows the segment's header. `batch.records` are
    the records as a backend gets them, with `header` and `offset`; `batch.end` is the `start` of what would follow.
    """
    header = Header(1, segment or uuid.uuid4().hex, host, pid, app, NOON_NS, tags or {})
    place = start = len(encode_header(header)) if start is None else start
    placed = []
    for record in records:
        placed.append(msgspec.structs.replace(record, header=header, offset=place))
        place += _length(record)
    return Batch(header, start, place, placed)


def merge(*batches: Batch) -> Batch:
    """One batch from several that follow each other in a segment."""
    records = [record for batch in batches for record in batch.records]
    missing = tuple(offset for batch in batches for offset in batch.missing)
    return Batch(batches[0].header, batches[0].start, batches[-1].end, records, missing)


def counters(count: int, name: str = "hits", **fields: Any) -> list[Record]:
    """So many counters, one a second from `NOON_NS` on, with the values 0, 1, 2, …"""
    return [Record(at(index), COUNTER, name, index, **fields) for index in range(count)]


def varied_records(count: int, seed: int = 1) -> list[Record]:
    """Records of all kinds over three hours: what the queries of the contract are asked about.

    Tags that some records lack, several units under one name, sample rates, texts and documents among the numbers,
    equal times and equal values; not in the order of time.
    """
    draw = random.Random(seed)
    records = [_varied(draw, index) for index in range(count)]
    draw.shuffle(records)
    return records


def _varied(draw: random.Random, index: int) -> Record:
    moment = at(draw.choice([draw.randrange(0, 10_800), draw.uniform(0, 10_800), 60 * draw.randrange(0, 180)]))
    tags = {"plan": draw.choice(["free", "pro", "team"])}
    if draw.random() < 0.7:
        tags["route"] = draw.choice(["/", "/cart", "/checkout"])
    match draw.randrange(7):
        case 0:
            return Record(moment, COUNTER, "user.signup", 1, tags)
        case 1:
            rate = draw.choice([1.0, 0.5, 0.25, 0.1])
            return Record(moment, COUNTER, "page.view", draw.randrange(1, 9), tags, sample_rate=rate)
        case 2:
            value = draw.choice([draw.randrange(-50, 50), draw.uniform(-50, 50), draw.random() < 0.5])
            return Record(moment, GAUGE, "queue.depth", value, tags)
        case 3:
            unit = draw.choice(["s", "s", "ms"])
            return Record(moment, TIMING, "search.time", draw.lognormvariate(-3, 1), tags, unit=unit)
        case 4:
            return Record(moment, EVENT, "deploy", f"v{index}", dict.fromkeys(["release"], "true"), ("release",))
        case 5:
            mixed: list[Any] = [1, 2.5, "many", None, True, {"n": 3}, [4], datetime(2025, 6, 15, tzinfo=UTC)]
            return Record(moment, "survey", "mixed.values", draw.choice(mixed), tags)
        case _:
            return Record(moment, GAUGE, "user.age", draw.randrange(18, 99), tags, unit="years")


def _length(record: Record) -> int:
    try:
        return len(record_line(record))
    except Exception:
        return 100  # a record made to be refused need not be one that a spool could hold


def typed(value: Any) -> Any:
    """The value with the type of each part, for comparing: `True`, `1` and `1.0` differ; the order of keys does not."""
    if isinstance(value, dict):
        return "dict", sorted((key, typed(part)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, [typed(part) for part in value]
    return type(value).__name__, value


def by_id(records: Iterable[Record]) -> dict[str, Record]:
    """The records by id; two with the same id are an assertion error."""
    found: dict[str, Record] = {}
    for record in records:
        assert record.id not in found, f"{record.id} is there twice: {found[record.id]} and {record}"
        found[record.id] = record
    return found
