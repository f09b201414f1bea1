"""What Kaneda's users gave, as a record of ours, and back.

Kaneda took any value for any kind and any tags. A record holds numbers as gauges, counters and timings, and texts as
tags. What is something else travels beside: a value of another type under the kind `kaneda.<kind>`, and tags as they
were given in the metadata `kaneda_tags`. So nothing is refused for its type, and the documents are as they were.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from tallystick.records import COUNTER, EVENT, GAUGE, TIMING, Record

TAGS: Final = "kaneda_tags"
HOST: Final = "kaneda_host"
"""Where a record came from that travelled through a queue to a worker on another host."""
_PREFIX: Final = "kaneda."


def kind_to(metric: str, value: Any) -> str:
    """The kind of the record for one of Kaneda's."""
    number = isinstance(value, int | float) and not (isinstance(value, bool) and metric != GAUGE)
    odd = (metric in (COUNTER, GAUGE, TIMING) and not number) or (metric == EVENT and not isinstance(value, str))
    return _PREFIX + metric if odd else metric


def value_to(value: Any) -> Any:
    """Also dates, UUIDs, sets, naive times (of UTC) and keys that are no texts, as Kaneda's drivers took them."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): value_to(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [value_to(part) for part in value]
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return str(value) if isinstance(value, date | uuid.UUID) else value


def host_of(record: Record) -> str:
    host: str = record.metadata.get(HOST, record.host)
    return host


def kind_of(record: Record) -> str:
    return record.kind.removeprefix(_PREFIX)


def tags_to(tags: Any) -> tuple[Any, dict[str, Any] | None]:
    """Tags that a record can have, and the metadata that keeps them as they were where those say less."""
    if not tags:
        return None, None
    if isinstance(tags, Mapping):
        texts = {str(key): shown(tag) for key, tag in tags.items() if tag is not None and tag != ""}
        same = (
            all(type(tag) is str for tag in texts)
            and len(texts) == len(tags)
            and all(type(key) is str and type(tag) is str for key, tag in tags.items())
        )
        return texts, None if same else {TAGS: {str(key): tag for key, tag in tags.items()}}
    if isinstance(tags, str):
        return [tags], {TAGS: tags}
    words = [shown(word) for word in tags]
    same = all(type(word) is str and word for word in tags) and len(set(words)) == len(words)
    return [word for word in words if word], None if same else {TAGS: list(tags)}


def tags_of(record: Record) -> Any:
    """The tags as they were given: a list, a dict, or nothing."""
    kept = record.metadata.get(TAGS)
    return kept if kept is not None else list(record.words) or dict(record.tags)


def shown(tag: Any) -> str:
    """A tag's value as a text."""
    if isinstance(tag, bool):
        return str(tag).lower()
    return tag if isinstance(tag, str) else str(tag)
