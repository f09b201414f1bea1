"""Terms of ReQL, evaluated in plain Python: those that the backend and the recorded transcript use, and no others.

An unknown term is an error of its own kind, so a stand-in that knows too little fails loudly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tests.rethinkdb import scalars
from tests.rethinkdb.admin import Store
from tests.rethinkdb.data import (
    ARRAY_LIMIT,
    LOGIC,
    MISSING,
    RESOURCE,
    Edge,
    Failure,
    Grouped,
    Stream,
    Table,
    doubles,
    hashable,
    order,
    type_name,
)
from tests.rethinkdb.writes import delete, insert

TOO_MANY = (
    "Array over size limit `{}`.  To raise the number of allowed elements, modify the `array_limit` option to `.run`"
    " (not available in the Data Explorer), or use an index."
)
EMPTY = (
    "Cannot take the {0} of an empty stream.  (If you passed `{0}` a field name, it may be that no elements of the"
    " stream had that field.)"
)

Names = dict[float, Any]


class Evaluation:
    """One query. `names` are the variables of the functions that a term stands in; None is the implicit one."""

    def __init__(self, store: Store, options: dict[str, Any]) -> None:
        self.store = store
        self.limit = int(options.get("array_limit", ARRAY_LIMIT))

    def value(self, term: Any, names: Names) -> Any:
        if isinstance(term, dict):
            return self.object(term, names)
        if not isinstance(term, list):
            return doubles(term)
        number, args, optional = term[0], term[1] if len(term) > 1 else [], term[2] if len(term) > 2 else {}
        if number == 69:
            return self.function(args, names)
        if number == 10:
            return names[args[0]]
        if number in _LAZY:
            return _LAZY[number](self, args, names)
        given = []
        for place, arg in enumerate(args):
            try:
                given.append(self.value(arg, names))
            except Failure as error:
                raise Failure(error.code, error.text, (place, *error.where)) from None
        named = {key: self.value(part, names) for key, part in optional.items()}
        if number in scalars.TERMS:
            if given and isinstance(given[0], Grouped):
                return self.each_group(given[0], lambda part: scalars.TERMS[number](part, *given[1:], **named))
            return scalars.TERMS[number](*given, **named)
        if number in Store.TERMS:
            return Store.TERMS[number](self.store, *given, **named)
        method = _TERMS[number]
        if given and isinstance(given[0], Grouped) and number != 150:
            return self.each_group(given[0], lambda part: method(self, part, *given[1:], **named))
        return method(self, *given, **named)

    def object(self, term: dict[str, Any], names: Names) -> dict[str, Any]:
        made = {key: self.value(part, names) for key, part in term.items()}
        if made.get("$reql_type$", "TIME") != "TIME":
            raise Failure(LOGIC, f"Unknown $reql_type$ {made['$reql_type$']}.")
        return made

    def function(self, args: list[Any], names: Names) -> Callable[..., Any]:
        parameters, body = args[0][1], args[1]
        implicit = "[13, []]" in str(body)
        return lambda *values: self.value(
            body, {**names, **dict(zip(parameters, values, strict=False)), **({-1: values[0]} if implicit else {})}
        )

    def each_group(self, grouped: Grouped, work: Callable[[Any], Any]) -> Grouped:
        return Grouped({key: (group, work(part)) for key, (group, part) in grouped.parts.items()})

    def array(self, *values: Any) -> list[Any]:
        if len(values) > self.limit:
            raise Failure(RESOURCE, TOO_MANY.format(self.limit))
        return list(values)

    def branch(self, args: list[Any], names: Names) -> Any:
        for test, then in _pairs(args[:-1]):
            if scalars.true(self.value(test, names)):
                return self.value(then, names)
        return self.value(args[-1], names)

    def default(self, args: list[Any], names: Names) -> Any:
        try:
            found = self.value(args[0], names)
        except Failure as error:
            if error.code != MISSING:
                raise
            found = None
        return self.value(args[1], names) if found is None else found

    # --- sequences ---

    def got(self, table: Table, key: Any) -> Any:
        return table.rows.get(hashable(key))

    def between(self, table: Table, low: Any, high: Any, index: str = "id") -> Stream:
        keyed = [(key, row) for key, row in self.indexed(table, index) if order(low) <= order(key) < order(high)]
        return Stream([row for _, row in keyed], table)

    def indexed(self, table: Table, index: str) -> list[tuple[Any, Any]]:
        """Documents with their keys; one that has no key is not in the index."""
        if index == "id":
            return [(row["id"], row) for row in table.rows.values()]
        if index not in table.indexes:
            where = f"{table.database}.{table.name}"
            raise Failure(4_100_000, f"Index `{index}` was not found on table `{where}`.")
        keyed = []
        for row in table.rows.values():
            try:
                keyed.append((table.indexes[index](row), row))
            except Failure as error:
                if error.code != MISSING:
                    raise
        return keyed

    def order_by(self, found: Any, *keys: Any, index: Any = None) -> Any:
        rows = list(items(found))
        table: Any = found if isinstance(found, Table) else getattr(found, "table", None)
        for key in reversed(keys):
            way, by = key if isinstance(key, tuple) else ("asc", key)
            rows.sort(key=lambda row, by=by: order(_by(by, row)), reverse=way == "desc")  # type: ignore[misc]
        if index is None:
            return self.array(*rows)
        way, name = index if isinstance(index, tuple) else ("asc", index)
        keys_of = {id(row): key for key, row in self.indexed(table, name)}
        rows = [row for row in rows if id(row) in keys_of]
        rows.sort(key=lambda row: order(keys_of[id(row)]), reverse=way == "desc")
        return Stream(rows, table)

    def filter(self, found: Any, wanted: Any) -> Any:
        def fits(row: Any) -> bool:
            if not callable(wanted):
                return all(row.get(key) == part for key, part in wanted.items())
            try:
                return scalars.true(wanted(row))
            except Failure as error:
                if error.code != MISSING:
                    raise
                return False

        return _like(found, [row for row in items(found) if fits(row)], keep=True)

    def map(self, found: Any, change: Any) -> Any:
        return _like(found, [change(row) for row in items(found)])

    def reduce(self, found: Any, merge: Any) -> Any:
        rows = items(found)
        if not rows:
            raise Failure(MISSING, "Cannot reduce over an empty stream.")
        total = rows[0]
        for row in rows[1:]:
            total = merge(total, row)
        return total

    def group(self, found: Any, by: Any) -> Grouped:
        parts: dict[Any, tuple[Any, Any]] = {}
        for row in items(found):
            try:
                key = _by(by, row)
            except Failure as error:
                if error.code != MISSING:
                    raise
                continue
            parts.setdefault(hashable(key), (key, Stream([])))[1].items.append(row)
        return Grouped(parts)

    def ungroup(self, grouped: Grouped) -> list[Any]:
        parts = sorted(grouped.parts.values(), key=lambda part: order(part[0]))
        return self.array(*({"group": group, "reduction": _datum(part)} for group, part in parts))

    def pluck(self, found: Any, *fields: str) -> Any:
        return self.on_each(found, lambda row: {key: part for key, part in row.items() if key in fields})

    def without(self, found: Any, *fields: str) -> Any:
        return self.on_each(found, lambda row: {key: part for key, part in row.items() if key not in fields})

    def has_fields(self, found: Any, *fields: str) -> Any:
        def has(row: Any) -> bool:
            return all(row.get(key) is not None for key in fields)

        if isinstance(found, dict):
            return has(found)
        return _like(found, [row for row in items(found) if has(row)], keep=True)

    def on_each(self, found: Any, change: Callable[[Any], Any]) -> Any:
        return change(found) if isinstance(found, dict) else _like(found, [change(row) for row in items(found)])

    def bracket(self, found: Any, key: Any) -> Any:
        if isinstance(key, str) and not isinstance(found, dict):
            if isinstance(found, Table | Stream | list):
                return _like(found, [row[key] for row in items(found) if key in row])
            raise Failure(LOGIC, f"Cannot perform bracket on a non-object non-sequence `{found}`.")
        if isinstance(key, str):
            return scalars.attribute(found, key)
        return self.nth(found, key)

    def nth(self, found: Any, place: float) -> Any:
        try:
            return items(found)[int(place)]
        except IndexError:
            raise Failure(MISSING, f"Index out of bounds: {int(place)}") from None

    def limited(self, found: Any, count: float) -> Any:
        return _like(found, items(found)[: int(count)], keep=True)

    def count(self, found: Any) -> float:
        return float(len(items(found)))

    def extreme(self, choose: Any, found: Any, by: Any = None) -> Any:
        rows = [row for row in items(found) if by is None or callable(by) or by in row]
        if not rows:
            raise Failure(MISSING, EMPTY.format(choose.__name__))
        return choose(rows, key=lambda row: order(row if by is None else _by(by, row)))

    def average(self, found: Any, by: Any = None) -> float:
        numbers = [row if by is None else _by(by, row) for row in items(found)]
        if not numbers:
            raise Failure(MISSING, EMPTY.format("avg"))
        return math.fsum(numbers) / len(numbers)

    def contains(self, found: Any, *values: Any) -> bool:
        return all(value in items(found) for value in values)

    def coerced(self, found: Any, kind: str) -> Any:
        return self.array(*items(found)) if kind == "array" else scalars.coerced(found, kind)

    def inserted(self, table: Table, given: Any, **options: Any) -> Any:
        documents = given if isinstance(given, list) else [given]
        conflict, changes = options.get("conflict", "error"), options.get("return_changes", False)
        return insert(table, documents, conflict, changes)

    def deleted(self, found: Any, **options: Any) -> Any:
        table = found if isinstance(found, Table) else found.table
        return delete(table, list(items(found)))

    def implicit(self, args: list[Any], names: Names) -> Any:
        return names[-1]


def _pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(values[::2], values[1::2], strict=True))


def _by(by: Any, row: Any) -> Any:
    return by(row) if callable(by) else scalars.attribute(row, by)


def _like(found: Any, rows: list[Any], *, keep: bool = False) -> Any:
    """An array of an array, else a stream; `keep`: the rows are still documents of the table."""
    if isinstance(found, list):
        return rows
    table = found if isinstance(found, Table) else found.table
    return Stream(rows, table if keep else None)


def _datum(value: Any) -> Any:
    return value.items if isinstance(value, Stream) else value


def items(found: Any) -> list[Any]:
    if isinstance(found, Table):
        return list(found.rows.values())
    if isinstance(found, Stream):
        return found.items
    if isinstance(found, list):
        return found
    raise Failure(LOGIC, f"Cannot convert {type_name(found)} to SEQUENCE")


_LAZY: dict[int, Any] = {65: Evaluation.branch, 92: Evaluation.default, 13: Evaluation.implicit}
_TERMS: dict[int, Any] = {
    2: Evaluation.array,
    16: Evaluation.got,
    31: Evaluation.bracket,
    32: Evaluation.has_fields,
    33: Evaluation.pluck,
    34: Evaluation.without,
    37: Evaluation.reduce,
    38: Evaluation.map,
    39: Evaluation.filter,
    41: Evaluation.order_by,
    43: Evaluation.count,
    45: Evaluation.nth,
    51: Evaluation.coerced,
    54: Evaluation.deleted,
    56: Evaluation.inserted,
    71: Evaluation.limited,
    73: lambda _, by: ("asc", by),
    74: lambda _, by: ("desc", by),
    93: Evaluation.contains,
    144: Evaluation.group,
    146: Evaluation.average,
    147: lambda self, found, by=None: self.extreme(min, found, by),
    148: lambda self, found, by=None: self.extreme(max, found, by),
    150: Evaluation.ungroup,
    170: Evaluation.bracket,
    180: lambda _: Edge(-1),
    181: lambda _: Edge(1),
    182: Evaluation.between,
}
