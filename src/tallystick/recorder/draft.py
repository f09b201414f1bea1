"""A record on its way into the spool, and the checks that it must pass first.

Whatever comes in, only these go on: a name and tags of clean text, a value of the closed set of types, a time. All
else is refused here, with the field and the remedy, before anything is stored. The caller's objects are never changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import Any, Final

import msgspec

from tallystick.errors import RecordError
from tallystick.interruptions import from_outside
from tallystick.moments import nanoseconds, plain_datetime
from tallystick.records import COUNTER, EVENT, GAUGE, TIMING, Value
from tallystick.values import (
    as_scalar,
    as_seconds,
    as_text,
    in_unit,
    lazy_text,
    negated,
    shown,
    tag_text,
    typed,
)

NAME_CHARACTERS: Final = 255
TAG_CHARACTERS: Final = 1_000
TAG_COUNT: Final = 64
DEPTH: Final = 16
KEY_COUNT: Final = 1_000
LINE_BYTES: Final = 256 * 1024
EARLIEST_NS: Final = 0
LATEST_NS: Final = 4_102_444_800 * 1_000_000_000
"""The year 2100: a later time is a unit mistaken (milliseconds for seconds)."""


class Draft(msgspec.Struct):
    """What filters see and may change. `tags` is a dict of texts, or a list of words as the caller gave it."""

    kind: str
    name: str
    value: Value
    tags: dict[str, str] | list[str]
    timestamp_ns: int
    unit: str | None = None
    metadata: dict[str, Any] = {}
    id: str | None = None
    sample_rate: float = 1.0


def make(
    kind: object,
    name: object,
    value: object,
    tags: object = None,
    *,
    timestamp: object = None,
    unit: object = None,
    metadata: object = None,
    id_: object = None,
    sample_rate: float = 1.0,
) -> Draft:
    """A draft of clean parts. Raises `RecordError`."""
    kind = text(kind, "kind", NAME_CHARACTERS)
    return Draft(
        kind=kind,
        name=text(name, "name", NAME_CHARACTERS),
        value=check_value(kind, value, unit),
        tags=check_tags(tags),
        timestamp_ns=time.time_ns() if timestamp is None else check_timestamp(timestamp),
        unit=None if unit is None else text(unit, "unit", 64),
        metadata={} if metadata is None else check_metadata(metadata),
        id=None if id_ is None else text(id_, "id_", NAME_CHARACTERS),
        sample_rate=check_sample_rate(sample_rate),
    )


def checked(draft: Draft) -> Draft:
    """The draft anew, after somebody else had it in hands. Raises `RecordError`."""
    check_moment(draft.timestamp_ns, "timestamp_ns")
    again = make(
        draft.kind,
        draft.name,
        draft.value,
        draft.tags,
        unit=draft.unit,
        metadata=draft.metadata,
        id_=draft.id,
        sample_rate=draft.sample_rate,
    )
    again.timestamp_ns = draft.timestamp_ns
    return again


def text(value: object, field: str, longest: int) -> str:
    """A text of 1 to `longest` characters that every store can hold."""
    if not isinstance(value, str):
        raise RecordError("type", field, f"{shown(value)} is {typed(value)}; give a text")
    if not 0 < len(value) <= longest:
        raise RecordError("length", field, f"a text of {len(value)} characters ({value[:40]!r}); give 1 to {longest}")
    return clean(value, field)


def clean(value: str, field: str) -> str:
    """The same text as a plain `str`, refused when no UTF-8 can hold it or a store would cut it at a NUL."""
    if "\0" in value:
        raise RecordError("nul", field, "a text with a NUL character; remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RecordError("surrogate", field, "a text with a lone surrogate; decode it properly first") from None
    return value if type(value) is str else str.__str__(value)


def check_value(kind: str, value: object, unit: object = None) -> Value:
    """A span of time becomes seconds, or what the unit says."""
    if kind in (COUNTER, GAUGE, TIMING):
        seconds = as_seconds(value, "value")
        number = as_scalar(value, "value") if seconds is None else in_unit(seconds, unit, "value")
        if number is None:
            raise RecordError("type", "value", f"{shown(value)} is {typed(value)}; a {kind} takes a number")
        return int(number) if isinstance(number, bool) and kind != GAUGE else number
    if kind == EVENT and not isinstance(value, str):
        translated = lazy_text(value)
        if translated is None:
            raise RecordError("type", "value", f"{shown(value)} is {typed(value)}; an event takes a text")
        value = translated
    return _Document().take(value, "value", 0)


def opposite(value: Any) -> Any:
    """A value's opposite; None, which is refused later, for what fails when it is asked."""
    try:
        return negated(value)
    except Exception as error:
        if from_outside(error):
            raise
        return None


class _Document:
    """Takes in one value, however nested, counting its keys. Its errors show no value, which may be a secret."""

    def __init__(self) -> None:
        self.keys = 0

    def take(self, value: Any, field: str, depth: int) -> Value:
        if isinstance(value, Enum):
            value = value.value
        if value is None:
            return None
        if isinstance(value, str):
            if len(value) > LINE_BYTES:
                raise RecordError(
                    "too_large", field, f"a text of {len(value)} characters; a record takes {LINE_BYTES} bytes"
                )
            return clean(value, field)
        if isinstance(value, datetime):
            return plain_datetime(value, field)
        if (scalar := as_scalar(value, field)) is not None:
            return scalar
        if depth >= DEPTH:
            raise RecordError("depth", field, f"nested deeper than {DEPTH} levels; flatten it")
        if isinstance(value, Mapping):
            self._count(len(value), field)
            return {
                self._key(key, field): self.take(part, f"{field}[{shown(key)}]", depth + 1)
                for key, part in value.items()
            }
        if isinstance(value, (list, tuple)):
            self._count(len(value), field)
            return [self.take(part, f"{field}[{index}]", depth + 1) for index, part in enumerate(value)]
        text = as_text(value)
        if text is None:
            raise RecordError(
                "type", field, f"a value {typed(value)}; give numbers, texts, bools, None, datetimes, dicts or lists"
            )
        return self.take(text, field, depth)

    def _count(self, more: int, field: str) -> None:
        self.keys += more
        if self.keys > KEY_COUNT:
            raise RecordError("keys", field, f"more than {KEY_COUNT} keys and items; record less, or several records")

    @staticmethod
    def _key(key: object, field: str) -> str:
        if not isinstance(key, str):
            raise RecordError("key", field, f"the key {shown(key)} is {typed(key)}; keys are texts")
        return text(key, f"{field} key", NAME_CHARACTERS)


def kept(tags: object) -> Any:
    """Tags as they are now, for looking at them again: neither the caller nor the first look changes them. What has
    no end is cut where it is too long anyway; what fails when it is looked at is refused when it is recorded.
    """
    try:
        if isinstance(tags, Mapping):
            return dict(tags)
        return list(islice(tags, TAG_COUNT + 1)) if isinstance(tags, Iterable) and not isinstance(tags, str) else tags
    except Exception as error:
        if from_outside(error):
            raise
        return tags


def check_tags(tags: object) -> dict[str, str] | list[str]:
    """Texts by text, or a list of words. Numbers and bools become text; a tag whose value is None is left out."""
    if tags is None:
        return {}
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise RecordError("type", "tags", f"tags {typed(tags)}; give a dict, or a list of words")
    if not isinstance(tags, Mapping):
        words = [text(word, f"tags[{index}]", NAME_CHARACTERS) for index, word in enumerate(_few(kept(tags)))]
        return list(dict.fromkeys(words))
    return {
        text(key, "tags key", NAME_CHARACTERS): _tag(value, f"tags[{shown(key)}]")
        for key, value in _few(tags).items()
        if value is not None
    }


def _few(tags: Any) -> Any:
    if len(tags) > TAG_COUNT:
        raise RecordError("tags", "tags", f"more than {TAG_COUNT} tags; give the rest as metadata")
    return tags


def _tag(value: object, field: str) -> str:
    text = tag_text(value, field)
    if len(text) > TAG_CHARACTERS:
        raise RecordError(
            "length", field, f"a text of {len(text)} characters; give up to {TAG_CHARACTERS}, or use metadata"
        )
    return clean(text, field)


def check_metadata(metadata: object) -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        raise RecordError("type", "metadata", f"metadata {typed(metadata)}; give a dict")
    taken = _Document().take(metadata, "metadata", 0)
    plain: dict[str, Any] = msgspec.to_builtins(taken)
    return plain


def check_timestamp(timestamp: object) -> int:
    """A moment → nanoseconds; see `moments`."""
    found = nanoseconds(timestamp, "timestamp")
    check_moment(found, "timestamp")
    return found


def check_moment(nanoseconds: object, field: str) -> None:
    if type(nanoseconds) is not int or not EARLIEST_NS <= nanoseconds < LATEST_NS:
        seconds = "; give seconds, not milliseconds" if field == "timestamp" else ""
        raise RecordError("timestamp", field, f"{shown(nanoseconds)} ns is not between 1970 and 2100{seconds}")


def check_sample_rate(rate: object) -> float:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1:
        raise RecordError("sample_rate", "sample_rate", f"{shown(rate)} is not above 0 and at most 1")
    return float(rate)
