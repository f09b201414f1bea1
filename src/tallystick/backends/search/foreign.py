"""Questions about documents that another tool or hand wrote: which of their fields are what, and how each holds it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

from msgspec import structs

from tallystick.backends.base import Foreign
from tallystick.backends.search.http import Server
from tallystick.backends.search.query import Fields
from tallystick.backends.search.tags import Columns
from tallystick.backends.search.time import MILLISECOND_NS, Time
from tallystick.errors import QueryError

_WHOLE: Final = {"long", "integer", "short", "byte", "unsigned_long"}
_FRACTIONS: Final = {"double", "float", "half_float", "scaled_float"}
_UNIT_NS: Final = {"ns": 1, "us": 1_000, "ms": MILLISECOND_NS, "s": 1_000_000_000}


def fields_of(server: Server, foreign: Foreign) -> Fields:
    """Raises `QueryError` when the source or a field does not exist, or cannot be what it is said to be."""
    columns = [foreign.time, foreign.value, foreign.name, foreign.kind, *foreign.tags.values()]
    types = _types(server, foreign.source, [column for column in columns if column])
    return Fields(
        time=_time(foreign, types),
        value=_number(foreign, types),
        tags=Columns({tag: _word(column, foreign, types) for tag, column in foreign.tags.items()}),
        name=foreign.name and _word(foreign.name, foreign, types),
        only_name=foreign.source,
        kind=foreign.kind and _word(foreign.kind, foreign, types),
        only_kind="gauge",
    )


def without_missing_kind(server: Server, foreign: Foreign) -> Foreign:
    """Without the kind's field where no index has it: documents that are older than the shape."""
    if foreign.kind is None:
        return foreign
    target = f"/{quote(foreign.source, safe=',*')}/_field_caps?" + urlencode({"fields": foreign.kind})
    found = server.ask("GET", target)
    return foreign if found is None or found["fields"] else structs.replace(foreign, kind=None)


def _types(server: Server, source: str, columns: list[str]) -> dict[str, str]:
    """The type of each field that can be grouped by or computed with, and of its keyword twin that mappings made by
    guessing give a text."""
    asked = sorted({*columns, *(f"{column}.keyword" for column in columns)})
    target = f"/{quote(source, safe=',*')}/_field_caps?" + urlencode({"fields": ",".join(asked)})
    answer = server.ask("GET", target)
    if answer is None or not answer["indices"]:
        raise QueryError(f"source: there is no index {source!r} at {server.address}")
    types: dict[str, str] = {}
    for column, found in answer["fields"].items():
        kinds = {kind: caps for kind, caps in found.items() if kind != "unmapped"}
        if len(kinds) > 1 and kinds.keys() <= _WHOLE | _FRACTIONS and all(c["aggregatable"] for c in kinds.values()):
            kinds = {"double": next(iter(kinds.values()))}  # the engine computes with all of them as doubles
        if len(kinds) > 1:
            raise QueryError(
                f"{column}: is {' and '.join(sorted(kinds))} in different indices of {source!r}; name one of them"
            )
        for kind, caps in kinds.items():
            if caps["aggregatable"] or kind == "text":
                types[column] = kind
    for column in columns:
        if column not in types and f"{column}.keyword" not in types:
            raise QueryError(f"{column}: no such field in {source!r}, or one that cannot be computed with")
    return types


def _word(column: str, foreign: Foreign, types: dict[str, str]) -> str:
    if types.get(column, "text") == "text":
        if f"{column}.keyword" not in types:
            raise QueryError(f"{column}: is full text in {foreign.source!r}, by which one cannot group; name a keyword")
        return f"{column}.keyword"
    return column


def _number(foreign: Foreign, types: dict[str, str]) -> str:
    held_as = types.get(foreign.value, "text")
    if held_as not in _WHOLE | _FRACTIONS | {"boolean"}:
        raise QueryError(f"{foreign.value}: is {held_as} in {foreign.source!r}, no number; name another field")
    return foreign.value


def _time(foreign: Foreign, types: dict[str, str]) -> Time:
    held_as: Any = types.get(foreign.time, "text")
    if held_as in ("date", "date_nanos"):
        return Time(foreign.time, held_as)
    if held_as not in _WHOLE | _FRACTIONS:
        raise QueryError(f"{foreign.time}: is {held_as} in {foreign.source!r}, no time; name a date, or a number")
    if foreign.time_unit not in _UNIT_NS:
        raise QueryError(f"{foreign.time}: is {held_as} in {foreign.source!r}; say its time_unit: ns, us, ms or s")
    return Time(foreign.time, "whole" if held_as in _WHOLE else "fraction", _UNIT_NS[foreign.time_unit])
