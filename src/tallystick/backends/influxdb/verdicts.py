"""Lines on their way to a server, and which of a refused batch are the bad ones.

Version 1 stores the good lines of a batch that it refuses; version 2 stores none when a line cannot be parsed, and the
good ones when a type conflicts or a time is too old; version 3 stores the good ones and numbers the others, up to 100
of them. 1 and 2 name lines that cannot be parsed, and of all others only say how many, which is sometimes too small a
number. So the answer is never relied on for what *is* stored: what it does not name is sent again, in halves, until
every line was in a batch that was taken whole, or is refused alone. To send a line again does no harm, since it is the
same point.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import msgspec

from tallystick.backends.influxdb.http import Answer
from tallystick.backends.influxdb.lines import Shape
from tallystick.errors import BackendError, Misconfigured, QueryError, TooLarge, Unavailable
from tallystick.records import Batch

_DROPPED: Final = re.compile(r"dropped=(\d+)")
_LIMITS: Final = ("max-series-per-database", "max-values-per-tag")
"""No line is to blame for these limits of version 1: a person must raise them, or the database forget."""


class LineServer(Protocol):
    """Takes lines. An answer that is not `ok` says what is wrong with some of them; for all else it raises."""

    address: str

    def write(self, body: bytes) -> Answer: ...


class Refusal(msgspec.Struct, frozen=True):
    line_number: int
    error_message: str


class _Refusals(msgspec.Struct, frozen=True):
    """What version 3 says of a batch that it took in part."""

    data: list[Refusal] | None = None


_decode_refusals: Final = msgspec.json.Decoder(_Refusals).decode


@contextmanager
def whole_requests() -> Iterator[None]:
    """What a server says of a request as a whole keeps all of it: only what it says of lines blames any."""
    try:
        yield
    except (Unavailable, TooLarge):
        raise
    except (BackendError, QueryError) as error:
        raise Unavailable(str(error)) from error


def add(server: LineServer, shape: Shape, batch: Batch) -> dict[int, str]:
    """Write a batch in one call; why which of its records were rejected, by index."""
    lines, indices, rejected = shape.lines(batch)
    refused = {indices[number]: why for number, why in refused_lines(server, lines).items()}
    learn = getattr(shape, "learn", None)
    if learn is None or not [index for index, why in refused.items() if learn(batch.records[index], why)]:
        return rejected | refused
    again = sorted(refused)
    rest = add(server, shape, batch.only(again))
    return rejected | {again[index]: why for index, why in rest.items()}


def refused_lines(server: LineServer, lines: list[str]) -> dict[int, str]:
    """Write the lines; why which of them were refused, by index. All others are stored then."""
    refused: dict[int, str] = {}
    parts = [list(range(len(lines)))] if lines else []
    while parts:
        part = parts.pop()
        answer = server.write("\n".join([lines[index] for index in part]).encode())
        if answer.ok:
            continue
        reason = answer.text
        if any(limit in reason for limit in _LIMITS):
            raise Misconfigured(
                f"{server.address}: {reason}; raise the limit, shorten the retention, or use fewer series"
            )
        named = _named(answer, [lines[index] for index in part])
        if len(part) == 1 or _all_dropped(reason, len(part)):
            named = dict.fromkeys(range(len(part)), reason[:1_000]) | named
        refused.update((part[number], why) for number, why in named.items())
        rest = [index for number, index in enumerate(part) if number not in named]
        if named and rest:
            parts.append(rest)
        elif rest:
            rest.sort(key=lambda index: _neighbours(lines[index], reason))
            parts += [rest[len(rest) // 2 :], rest[: len(rest) // 2]]
    return refused


def refusals(answer: Answer) -> list[Refusal]:
    """The lines that version 3 lists by number; none in an answer of another kind."""
    try:
        return _decode_refusals(answer.body).data or []
    except msgspec.MsgspecError:
        return []


def _named(answer: Answer, lines: list[str]) -> dict[int, str]:
    """What the answer says of single lines, by number."""
    if listed := refusals(answer):
        return {one.line_number - 1: one.error_message for one in listed if 0 < one.line_number <= len(lines)}
    reason = answer.text
    if "unable to parse" not in reason:
        return {}
    found = {number: reason.partition(f"unable to parse '{line}'")[1:] for number, line in enumerate(lines)}
    return {number: f"unable to parse{why.partition(chr(10))[0]}" for number, (match, why) in found.items() if match}


def _all_dropped(reason: str, count: int) -> bool:
    found = _DROPPED.search(reason)
    return found is not None and int(found[1]) >= count


def _neighbours(line: str, reason: str) -> tuple[int, str]:
    """Puts lines that are bad for the same reason beside each other, so that halving finds them in few steps: by time
    when it is about retention, else by measurement, tags and fields."""
    by_time = "retention" in reason.lower()
    return (int(line.rpartition(" ")[2]) if by_time else 0), line
