"""Which lines of a refused batch are the bad ones.

Version 1 stores the good lines of a batch that it refuses; version 2 stores none when a line cannot be parsed, and the
good ones when a type conflicts or a time is too old. Both name lines that cannot be parsed, and of all others only a
number, sometimes too small. So the answer is never relied on for what *is* stored: what it does not name is sent again,
in halves, until every line was in a batch that was taken whole, or is refused alone. To send a line again does no
harm, since it is the same point.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from tallystick.backends.influxdb_http import Answer
from tallystick.errors import Misconfigured

_DROPPED: Final = re.compile(r"dropped=(\d+)")
_LIMITS: Final = ("max-series-per-database", "max-values-per-tag")
"""No line is to blame for these limits of version 1: a person must raise them, or the database forget."""


def refused_lines(write: Callable[[bytes], Answer], lines: list[str], address: str) -> dict[int, str]:
    """Write the lines; why which of them were refused, by index. All others are stored then."""
    refused: dict[int, str] = {}
    parts = [list(range(len(lines)))] if lines else []
    while parts:
        part = parts.pop()
        answer = write("\n".join([lines[index] for index in part]).encode())
        if answer.ok:
            continue
        reason = answer.text
        if any(limit in reason for limit in _LIMITS):
            raise Misconfigured(f"{address}: {reason}; raise the limit, shorten the retention, or use fewer series")
        named = {index: why for index in part if (why := _why(lines[index], reason))}
        if len(part) == 1 or _all_dropped(reason, len(part)):
            named = dict.fromkeys(part, reason[:1_000]) | named
        refused.update(named)
        rest = [index for index in part if index not in named]
        if named and rest:
            parts.append(rest)
        elif rest:
            rest.sort(key=lambda index: _neighbours(lines[index], reason))
            parts += [rest[len(rest) // 2 :], rest[: len(rest) // 2]]
    return refused


def _why(line: str, reason: str) -> str:
    """What the answer says of a line that it names, or nothing."""
    _, named, why = reason.partition(f"unable to parse '{line}'")
    return named and f"unable to parse{why.partition(chr(10))[0]}"


def _all_dropped(reason: str, count: int) -> bool:
    found = _DROPPED.search(reason)
    return found is not None and int(found[1]) >= count


def _neighbours(line: str, reason: str) -> tuple[int, str]:
    """Puts lines that are bad for the same reason beside each other, so that halving finds them in few steps: by time
    when it is about retention, else by measurement, tags and fields."""
    by_time = "retention" in reason.lower()
    return (int(line.rpartition(" ")[2]) if by_time else 0), line
