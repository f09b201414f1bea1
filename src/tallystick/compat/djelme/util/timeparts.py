"""A moment as a tuple of integers, year first, in UTC; as text with dots.

>>> serialize_timeparts((3000, 7, 12))
'3000.7.12'
>>> parse_timeparts("100.200.")
(100, 200)
>>> GregorianTime(3).get_timeparts("3000-02-07T09:30:00+02:00")
(3000, 2, 7)
"""

from __future__ import annotations

import dataclasses
import datetime  # noqa: ICN001 (its users name it so)
from collections.abc import Iterator, Sequence
from typing import Final, Protocol, TypeAlias

__all__ = [
    "TIMEPART_DELIMITER",
    "AbstractTimeparts",
    "GregorianTime",
    "TimepartStrat",
    "Timeparts",
    "parse_timeparts",
    "serialize_timeparts",
]

TIMEPART_DELIMITER: Final = "."
Timeparts: TypeAlias = tuple[int, ...]
AbstractTimeparts: TypeAlias = Sequence[int]

_FIRST: Final = (1, 1, 1)
"""Of a year, of its months, of their days; everything smaller begins with 0."""


def serialize_timeparts(when: AbstractTimeparts, max_timedepth: int | None = None) -> str:
    parts = list(when)
    assert all(isinstance(part, int) for part in parts)
    return TIMEPART_DELIMITER.join(map(str, parts[:max_timedepth]))


def parse_timeparts(timepart_str: str, max_timedepth: int | None = None) -> Timeparts:
    parts = tuple(int(part) for part in timepart_str.split(TIMEPART_DELIMITER) if part)
    return parts[:max_timedepth]


class TimepartStrat(Protocol):
    def get_timeparts(
        self, when: AbstractTimeparts | datetime.date | str, pad: bool = True, truncate: bool = True
    ) -> Timeparts: ...
    def each_timeparts_in_timerange(
        self, from_timeparts: AbstractTimeparts, until_timeparts: AbstractTimeparts, *, max_fanout: int
    ) -> Iterator[Timeparts]: ...
    def with_default_timedepth(self, new_default_timedepth: int) -> TimepartStrat: ...


@dataclasses.dataclass
class GregorianTime(TimepartStrat):
    default_timedepth: int
    tz: datetime.tzinfo = datetime.UTC

    def get_timeparts(
        self, when: AbstractTimeparts | datetime.date | str, pad: bool = True, truncate: bool = True
    ) -> Timeparts:
        """The parts of a moment, filled up and cut to the depth. A naive time is one of this zone."""
        parts = self._parts(when)
        if pad and len(parts) < self.default_timedepth:
            missing = range(len(parts), self.default_timedepth)
            parts += tuple(_FIRST[place] if place < len(_FIRST) else 0 for place in missing)
        return parts[: self.default_timedepth] if truncate else parts

    def _parts(self, when: object) -> Timeparts:
        if isinstance(when, datetime.datetime):
            here = when if when.tzinfo is None else when.astimezone(self.tz)
            return (here.year, here.month, here.day, here.hour, here.minute, here.second)
        if isinstance(when, datetime.date):
            return (when.year, when.month, when.day)
        if isinstance(when, str):
            for read in (datetime.date.fromisoformat, datetime.datetime.fromisoformat):
                try:
                    return self._parts(read(when))
                except ValueError:
                    continue
            return parse_timeparts(when)
        if isinstance(when, Sequence):
            return tuple(when)
        raise ValueError("expected tuple, list, date, datetime, or str", when)

    def each_timeparts_in_timerange(
        self, from_timeparts: AbstractTimeparts, until_timeparts: AbstractTimeparts, *, max_fanout: int
    ) -> Iterator[Timeparts]:
        """The fewest spans, each named by its first parts, that cover the range; its end is not in it."""
        found = _covering(tuple(from_timeparts), tuple(until_timeparts), self.default_timedepth, max_fanout)
        yield from (parts for parts in found if 0 not in parts[1:3])  # there is no month 0 and no day 0

    def with_default_timedepth(self, new_default_timedepth: int) -> TimepartStrat:
        return dataclasses.replace(self, default_timedepth=new_default_timedepth)


def _covering(start: Timeparts, end: Timeparts, depth: int, fanout: int) -> Iterator[Timeparts]:
    if depth <= 0:
        yield ()
        return
    first, last = (start or (0,))[0], (end or (0,))[0]
    if first == last:
        yield from ((first, *rest) for rest in _covering(start[1:], end[1:], depth - 1, fanout))
    elif 0 < last - first <= fanout:
        yield from ((part,) for part in range(first, last))
        if any(end[1:]):
            zero = (0,) * len(end[1:])
            yield from ((last, *rest) for rest in _covering(zero, end[1:], depth - 1, fanout))
    else:
        yield ()
