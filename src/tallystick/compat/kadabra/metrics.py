"""What Kadabra collects and sends: dimensions, counters, timers, and `Metrics`, which is all of one collector.

`serialize` gives the dict whose JSON travels. Its keys stand in a fixed order: an old agent acknowledges an entry by
the text that it would write itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tallystick.compat.kadabra.utils import get_datetime_from_timestamp_string, get_now, timedelta_total_seconds

FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


def shown(moment: datetime, timestamp_format: str) -> str:
    """The time as text. One with a zone is put into UTC first, since the text may not tell its offset."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return moment.strftime(timestamp_format)


class Dimension:
    """A pair of texts that metrics are grouped by."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def serialize(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value}

    @staticmethod
    def deserialize(value: dict[str, Any]) -> Dimension:
        return Dimension(value["name"], value["value"])


class Metric:
    """What counters and timers have in common."""

    def __init__(self, name: str, timestamp: datetime, metadata: dict[str, Any]) -> None:
        self.name = name
        self.timestamp = timestamp
        self.metadata = metadata


class Counter(Metric):
    """A number under a name."""

    def __init__(self, name: str, timestamp: datetime, metadata: dict[str, Any], value: float) -> None:
        super().__init__(name, timestamp, metadata)
        self.value = value

    def serialize(self, timestamp_format: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "metadata": self.metadata,
            "timestamp": shown(self.timestamp, timestamp_format),
            "value": float(self.value),
        }

    @staticmethod
    def deserialize(value: dict[str, Any], timestamp_format: str) -> Counter:
        moment = get_datetime_from_timestamp_string(value["timestamp"], timestamp_format)
        return Counter(value["name"], moment, value["metadata"], value["value"])


class Unit:
    """A unit of time: `seconds_offset` is how many of it are a second."""

    def __init__(self, name: str, seconds_offset: float) -> None:
        self.name = name
        self.seconds_offset = seconds_offset

    def serialize(self) -> dict[str, Any]:
        return {"name": self.name, "seconds_offset": self.seconds_offset}

    @staticmethod
    def deserialize(value: dict[str, Any]) -> Unit:
        return Unit(value["name"], value["seconds_offset"])


class Units:
    """The units that are mostly used."""

    SECONDS: Final = Unit("seconds", 1.0)
    MILLISECONDS: Final = Unit("milliseconds", 1000.0)


class Timer(Metric):
    """A span of time under a name, and the unit that it is told in."""

    def __init__(self, name: str, timestamp: datetime, metadata: dict[str, Any], value: timedelta, unit: Unit) -> None:
        super().__init__(name, timestamp, metadata)
        self.value = value
        self.unit = unit

    def serialize(self, timestamp_format: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit.serialize(),
            "metadata": self.metadata,
            "timestamp": shown(self.timestamp, timestamp_format),
            "value": timedelta_total_seconds(self.value) * self.unit.seconds_offset,
        }

    @staticmethod
    def deserialize(value: dict[str, Any], timestamp_format: str) -> Timer:
        unit = Unit.deserialize(value["unit"])
        span = timedelta(seconds=value["value"] / unit.seconds_offset)
        moment = get_datetime_from_timestamp_string(value["timestamp"], timestamp_format)
        return Timer(value["name"], moment, value["metadata"], span, unit)


class Metrics:
    """All that one collector collected. `serialized_at` is the time of sending as text; None until it is sent."""

    def __init__(
        self,
        dimensions: list[Dimension],
        counters: list[Counter],
        timers: list[Timer],
        timestamp_format: str = FORMAT,
        serialized_at: str | None = None,
    ) -> None:
        self.dimensions = dimensions
        self.counters = counters
        self.timers = timers
        self.timestamp_format = timestamp_format
        self.serialized_at = serialized_at

    def serialize(self) -> dict[str, Any]:
        at = self.serialized_at
        return {
            "dimensions": [dimension.serialize() for dimension in self.dimensions],
            "counters": [counter.serialize(self.timestamp_format) for counter in self.counters],
            "timers": [timer.serialize(self.timestamp_format) for timer in self.timers],
            "timestamp_format": self.timestamp_format,
            "serialized_at": shown(get_now(), self.timestamp_format) if at is None else at,
        }

    @staticmethod
    def deserialize(value: dict[str, Any]) -> Metrics:
        timestamp_format = value["timestamp_format"]
        return Metrics(
            [Dimension.deserialize(dimension) for dimension in value["dimensions"]],
            [Counter.deserialize(counter, timestamp_format) for counter in value["counters"]],
            [Timer.deserialize(timer, timestamp_format) for timer in value["timers"]],
            timestamp_format,
            value.get("serialized_at"),
        )
