"""RethinkDB's data: numbers are doubles, values of all types have one order, and errors have a code and a place."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

RESOURCE, LOGIC, MISSING, FAILED, PERMISSION = 2_000_000, 3_000_000, 3_100_000, 4_100_000, 6_000_000
ARRAY_LIMIT: Final = 100_000


class Failure(Exception):
    """A reply of type 18. `where` is the way to the term that failed: its place among the arguments, and so on.

    The message may be a function: most of those about missing attributes are never read, for `default` catches them.
    """

    def __init__(self, code: int, message: str | Callable[[], str], where: tuple[Any, ...] = ()) -> None:
        super().__init__(code)
        self.code, self.text, self.where = code, message, list(where)

    @property
    def message(self) -> str:
        return self.text() if callable(self.text) else self.text


class Edge:
    """`r.minval` and `r.maxval`."""

    def __init__(self, rank: int) -> None:
        self.rank = rank


@dataclass
class Table:
    database: str
    name: str
    id: str
    rows: dict[Any, dict[str, Any]] = field(default_factory=dict)
    indexes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Stream:
    """A sequence that is no array. Documents that stand in a table can be deleted."""

    items: list[Any]
    table: Table | None = None


@dataclass
class Grouped:
    """By the group's key: the group, and what is in it."""

    parts: dict[Any, tuple[Any, Any]]


def doubles(value: Any) -> Any:
    """As the server takes a datum in."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return [doubles(part) for part in value]
    if isinstance(value, dict):
        return {key: doubles(part) for key, part in value.items()}
    return value


def shown(value: Any) -> Any:
    """As the server gives a datum back: doubles without a fraction are written as integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [shown(part) for part in value]
    if isinstance(value, dict):
        return {key: shown(value[key]) for key in sorted(value)}
    return value


def printed(value: Any, depth: int = 0) -> str:
    """As in the server's messages."""
    if isinstance(value, dict) and value:
        inner = "\t" * (depth + 1)
        parts = [f"{inner}{json.dumps(key)}:\t{printed(part, depth + 1)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + "\n" + "\t" * depth + "}"
    return json.dumps(value)


def type_name(value: Any) -> str:
    if isinstance(value, Edge):
        return "MINVAL" if value.rank < 0 else "MAXVAL"
    if isinstance(value, dict):
        special = value.get("$reql_type$")
        return f"PTYPE<{special}>" if special else "OBJECT"
    names = {type(None): "NULL", bool: "BOOL", float: "NUMBER", str: "STRING", list: "ARRAY"}
    return names.get(type(value), "STREAM")


def compared(one: Any, other: Any) -> int:
    """Below zero, zero or above. Types are in the order of their names."""
    if isinstance(one, Edge) or isinstance(other, Edge):
        return (one.rank if isinstance(one, Edge) else 0) - (other.rank if isinstance(other, Edge) else 0)
    types = type_name(one), type_name(other)
    if types[0] != types[1]:
        return -1 if types[0] < types[1] else 1
    if isinstance(one, list):
        for left, right in zip(one, other, strict=False):
            if way := compared(left, right):
                return way
        return len(one) - len(other)
    if types[0] == "PTYPE<TIME>":
        one, other = one["epoch_time"], other["epoch_time"]
    elif isinstance(one, dict):
        return compared([list(item) for item in sorted(one.items())], [list(item) for item in sorted(other.items())])
    if one is None or one == other:
        return 0
    return -1 if one < other else 1


order = functools.cmp_to_key(compared)


def hashable(value: Any) -> Any:
    return json.dumps(shown(value), sort_keys=True)
