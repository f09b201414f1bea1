"""A small fluent search over one type's records, the same on every backend.

    ItemViewed.query().where(item_id="a1").between("2026-11-01", "2026-12-01").group_by("item_id").count()

Time and tags are asked of the store (`records()`, or one query where it can count alone); conditions on other fields
are looked at here, record by record, so memory stays small and any store gives the same answer.
"""

from __future__ import annotations

import copy
import operator
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from tallystick.errors import MissingExtra, QueryError, RecordError
from tallystick.moments import EPOCH
from tallystick.queries import Query
from tallystick.records import Record
from tallystick.typed import fields
from tallystick.values import tag_text

if TYPE_CHECKING:
    from tallystick.typed.types import Type

T = TypeVar("T")

_TESTS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "in": lambda value, among: value in among,
    "contains": lambda value, part: part in value,
}


class Search(Generic[T]):
    """Each method gives a new search; iterating asks the store, oldest first."""

    def __init__(self, kind: Type[T]) -> None:
        self._kind = kind
        self._conditions: list[tuple[str, str, Any]] = []
        self._start: Any = None
        self._end: Any = None
        self._last: Any = None
        self._by: tuple[str, ...] = ()

    def _copy(self, **changed: Any) -> Self:
        made = copy.copy(self)
        made.__dict__.update(changed)
        return made

    def where(self, **conditions: Any) -> Self:
        """Only records whose fields fit: `where(item_id="a1", seconds__gte=2)`; a list means any of these."""
        found = list(self._conditions)
        for given, value in conditions.items():
            name, _, test = given.rpartition("__") if given.rpartition("__")[2] in _TESTS else (given, "", "")
            self._known(name)
            listed = isinstance(value, list | tuple | set)
            found.append((name, test or ("in" if listed else "eq"), _plain(value, self._kind.name, name)))
        return self._copy(_conditions=found)

    def between(self, start: Any, end: Any) -> Self:
        """Only records with `start <= timestamp < end`: datetimes, dates (their midnight, UTC) or ISO 8601 texts."""
        return self._copy(_start=_moment(start), _end=_moment(end), _last=None)

    def last(self, span: str | float | timedelta) -> Self:
        """Only the records of the time up to now: `"24h"`, `"7d"`."""
        return self._copy(_last=span, _start=None, _end=None)

    def group_by(self, *names: str) -> Self:
        """`count` and `sum` answer by the values of these fields."""
        for name in names:
            self._known(name)
        return self._copy(_by=names)

    def _known(self, name: str) -> None:
        known = self._kind.description.fields
        if name not in known:
            raise QueryError(f"{self._kind.name}: {name!r} is no field; fields are {', '.join(known)}")

    # --- answers ---

    def __iter__(self) -> Iterator[T]:
        for record in self.records():
            yield self._kind.loaded(record)

    def records(self) -> Iterator[Record]:
        """The records themselves, oldest first."""
        for record in self._kind.metrics.records(self._query()):
            if self._fits(record.value):
                yield record

    def latest(self, number: int = 1) -> list[T]:
        """The newest ones, newest first."""
        if self._all_in_the_store:
            found = list(self._kind.metrics.records(self._query(), newest=number))
        else:
            found = list(deque(self.records(), maxlen=number))
        return [self._kind.loaded(record) for record in reversed(found)]

    def count(self) -> Any:
        """How many; with `group_by`, a dict from the value (a tuple of values for several fields) to how many."""
        if not self._by and self._all_in_the_store:
            return round(sum(value for one in self._kind.metrics.query(self._query()) for _, value in one.points))
        return self._added(lambda _: 1)

    def sum(self, name: str) -> Any:
        """The sum of a field; with `group_by`, a dict. Values that are None count for nothing."""
        self._known(name)
        return self._added(lambda document: document.get(name) or 0)

    def _added(self, amount: Callable[[Mapping[str, Any]], Any]) -> Any:
        totals: dict[Any, Any] = defaultdict(int)
        for record in self.records():
            document = record.value
            assert isinstance(document, dict)
            key = tuple(_hashable(document.get(name)) for name in self._by)
            totals[key[0] if len(self._by) == 1 else key] += _number(amount(document), self._kind.name)
        return dict(totals) if self._by else totals.get((), 0)

    def to_pandas(self) -> Any:
        """A `DataFrame` with a column for each field and `timestamp`. Raises `MissingExtra` without pandas."""
        try:
            import pandas as pd  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingExtra("pandas is not installed; run: pip install pandas", name="pandas") from error
        rows = [
            {"timestamp": EPOCH + timedelta(microseconds=one.timestamp_ns // 1_000), **one.value}
            for one in self.records()
            if isinstance(one.value, dict)
        ]
        return pd.DataFrame(rows, columns=["timestamp", *self._kind.description.fields])

    # --- the question ---

    @property
    def _tag_conditions(self) -> dict[str, Any]:
        tags = {name for name, options in self._kind.description.options.items() if options.tag}
        return {
            name: [tag_text(one, name) for one in (value if test == "in" else [value])]
            for name, test, value in self._conditions
            if name in tags and test in ("eq", "in") and value not in (None, [])
        }

    @property
    def _all_in_the_store(self) -> bool:
        return len(self._tag_conditions) == len(self._conditions)

    def _query(self) -> Query:
        return Query(
            self._kind.name,
            kinds=self._kind.name,
            aggregate="count",
            where=self._tag_conditions,
            start=self._start,
            end=self._end,
            last=self._last,
        )

    def _fits(self, document: Any) -> bool:
        if not isinstance(document, dict):
            return False
        for name, test, wanted in self._conditions:
            value = document.get(name)
            if value is None and test not in ("eq", "ne", "in"):
                return False
            try:
                if not _TESTS[test](value, wanted):
                    return False
            except TypeError:
                raise QueryError(f"{self._kind.name}.{name}: {value!r:.80} and {wanted!r:.80} do not compare") from None
        return True


def _plain(value: Any, kind: str, name: str) -> Any:
    """As it stands in a document."""
    import msgspec

    plain = msgspec.to_builtins(
        fields.given({name: list(value) if isinstance(value, set) else value}), builtin_types=(datetime,)
    )
    try:
        return fields.storable(plain[name], f"{kind}.{name}")
    except RecordError as error:
        raise QueryError(str(error)) from None


def _moment(moment: Any) -> Any:
    if isinstance(moment, datetime):
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if isinstance(moment, date):
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else str(value) if isinstance(value, dict) else value


def _number(value: Any, kind: str) -> Any:
    from decimal import Decimal, InvalidOperation

    if isinstance(value, int | float):
        return value
    try:
        return Decimal(value)  # how a Decimal stands in a document
    except (InvalidOperation, TypeError, ValueError):
        raise QueryError(f"{kind}: {value!r:.80} is no number; sum another field") from None
