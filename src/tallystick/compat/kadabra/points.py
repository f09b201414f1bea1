"""Kadabra's points in InfluxDB: the measurement is the metric's name, tags are the dimensions.

    orders,env=prod value=2.5,user="u1" 1479333981920492000

- Fields: `value` (float), for timers `unit`, and the metadata with their own types; `value` and `unit` win over
  metadata of that name.
- The time is the metric's own. Of two points of one series and time the later one is shifted by nanoseconds that are
  told by its place, as long as both are among the last 100,000 points of this agent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from tallystick.backends.base import Foreign
from tallystick.backends.influxdb.lines import REFUSALS
from tallystick.backends.influxdb.text import head_of, text_field
from tallystick.codec import encode
from tallystick.records import TIMING, Batch, Record

_REMEMBERED: Final = 100_000


class Points:
    name = "kadabra"
    foreign: Foreign | None = None

    def __init__(self, _place: str = "", _argument: str = "") -> None:
        self._taken: dict[tuple[str, int], str] = {}

    def lines(self, batch: Batch) -> tuple[list[str], list[int], dict[int, str]]:
        lines: list[str] = []
        indices: list[int] = []
        rejected: dict[int, str] = {}
        for index, record in enumerate(batch.records):
            try:
                head = head_of(
                    _one_line(record.name), {_one_line(k): _one_line(v) for k, v in record.tags.items() if v}
                )
                fields = _fields(record)
            except REFUSALS as error:
                rejected[index] = f"{type(error).__name__}: {error}"
                continue
            lines.append(f"{head} {fields} {self._moment(head, record)}")
            indices.append(index)
        return lines, indices, rejected

    def _moment(self, head: str, record: Record) -> int:
        """The record's time, or where another record has this point, the first free nanosecond from one that its id
        tells."""
        at = record.timestamp_ns
        if self._taken.setdefault((head, at), record.id) != record.id:
            step = int.from_bytes(blake2b(record.id.encode(), digest_size=4).digest(), "big")
            at += 1 + step % 997
            while self._taken.setdefault((head, at), record.id) != record.id:
                at += 1
        if len(self._taken) > _REMEMBERED:
            del self._taken[next(iter(self._taken))]
        return at


def _fields(record: Record) -> str:
    fields = {**record.metadata, "value": record.value}
    if record.kind == TIMING and record.unit is not None:
        fields["unit"] = record.unit
    return "".join(_field(key, value) for key, value in sorted(fields.items()) if value is not None and value != "")[1:]


def _field(key: str, value: Any) -> str:
    name = _one_line(key).replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")
    if isinstance(value, bool):
        return f",{name}={'true' if value else 'false'}"
    if key == "value" and isinstance(value, int):
        value = float(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise OverflowError(f"{key}: {value} does not fit 64 bits")
        return f",{name}={value}i"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{key}: {value} is not finite")
        return f",{name}={value!r}"
    return text_field(name, value if isinstance(value, str) else encode(value).decode())


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


SHAPES: Final[dict[str, Callable[[str, str], Any]]] = {"influxdb": Points, "influxdb2": Points}
