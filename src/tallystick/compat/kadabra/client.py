"""Kadabra's client: `Kadabra` makes collectors and sends what they collected.

`send` returns when the entry is in this host's spool; an agent of this library brings it to the Redis list, where
Kadabra's agents, old and new, find it. A channel of the user's own is called at once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tallystick.compat.kadabra.channels import RedisChannel
from tallystick.compat.kadabra.config import merged
from tallystick.compat.kadabra.metrics import Counter, Dimension, Metrics, Timer, Unit, Units
from tallystick.compat.kadabra.sending import send_later
from tallystick.compat.kadabra.utils import get_now


class CollectorClosedError(Exception):
    """A collector was used or closed after it had been closed."""

    def __init__(self) -> None:
        super().__init__("MetricsCollector object has been closed")


class Kadabra:
    """Makes collectors and sends what they collected. `configuration` overrides defaults of `config.DEFAULT_CONFIG`.

    Raises `Exception` for a channel type that is not known, `TypeError` for a channel argument that is not.
    """

    def __init__(self, configuration: dict[str, Any] | None = None) -> None:
        config = merged(configuration)
        self.default_dimensions = config.get("CLIENT_DEFAULT_DIMENSIONS", {})
        if config["CLIENT_CHANNEL_TYPE"] != "redis":
            raise Exception(f"Unrecognized channel type: '{config['CLIENT_CHANNEL_TYPE']}'")  # noqa: TRY002
        arguments = {**RedisChannel.DEFAULT_ARGS, **(config["CLIENT_CHANNEL_ARGS"] or {})}
        self.channel: Any = RedisChannel(**arguments)
        self.timestamp_format: str = config["CLIENT_TIMESTAMP_FORMAT"]

    def metrics(self) -> MetricsCollector:
        """A collector that begins with the default dimensions."""
        given = dict(self.default_dimensions)
        named = {name: value for name, value in given.items() if name not in ("self", "timestamp_format")}
        collector = MetricsCollector(self.timestamp_format, **named)
        if len(named) < len(given):
            collector.dimensions = given
        return collector

    def send(self, metrics: Metrics) -> None:
        """Keep the metrics until a Kadabra agent can have them. Returns when they are in the spool.

        Raises `TypeError` for metadata or dimensions that JSON cannot hold.
        """
        if isinstance(RedisChannel, type) and type(self.channel) is RedisChannel:
            send_later(self.channel, metrics)
        elif hasattr(self.channel, "send"):
            self.channel.send(metrics)
        else:
            self.channel.transport(metrics)


class MetricsCollector:
    """Counters, timers and dimensions until `close`. Thread-safe."""

    def __init__(self, timestamp_format: str, **dimensions: Any) -> None:
        self.counters: dict[str, dict[str, Any]] = {}
        self.timers: dict[str, dict[str, Any]] = {}
        self.dimensions = dimensions
        self.timestamp_format = timestamp_format
        self.closed = False
        self.lock = threading.Lock()

    def set_dimension(self, name: str, value: Any) -> None:
        """Set a dimension of all that is collected here; replaces an earlier value."""
        with self.lock:
            self._check_open()
            self.dimensions[name] = value

    def add_count(
        self,
        name: str,
        value: float,
        timestamp: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        replace_timestamp: bool = False,
    ) -> None:
        """Add to a counter. Its time is that of its first count (default: now), unless `replace_timestamp`; metadata
        replace what it had, unless they are empty. Raises `TypeError` for metadata that are no dict.
        """
        with self.lock:
            self._check_open()
            now = get_now() if timestamp is None else timestamp
            given = _metadata(metadata)
            known = self.counters.get(name)
            if known is None:
                self.counters[name] = {"metadata": given, "timestamp": now, "value": float(value)}
                return
            known["value"] += float(value)
            if given:
                known["metadata"] = given
            if replace_timestamp:
                known["timestamp"] = now

    def set_timer(
        self,
        name: str,
        value: timedelta,
        unit: Unit = Units.SECONDS,
        timestamp: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Set a timer; replaces value, unit and time of an earlier one, and its metadata unless the new are empty.
        Raises `TypeError` for metadata that are no dict.
        """
        with self.lock:
            self._check_open()
            now = get_now() if timestamp is None else timestamp
            given = _metadata(metadata)
            known = self.timers.get(name)
            if known is not None and not given:
                given = known["metadata"]
            self.timers[name] = {"unit": unit, "metadata": given, "timestamp": now, "value": value}

    def close(self) -> Metrics:
        """What was collected. From now on this collector takes nothing."""
        with self.lock:
            self._check_open()
            self.closed = True
            return Metrics(
                [Dimension(name, value) for name, value in self.dimensions.items()],
                [Counter(name, c["timestamp"], c["metadata"], c["value"]) for name, c in self.counters.items()],
                [Timer(name, t["timestamp"], t["metadata"], t["value"], t["unit"]) for name, t in self.timers.items()],
                self.timestamp_format,
            )

    def _check_open(self) -> None:
        if self.closed:
            raise CollectorClosedError


def _metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata: {metadata!r:.80} is a {type(metadata).__name__}; give a dict of names to values")
    return dict(metadata)
