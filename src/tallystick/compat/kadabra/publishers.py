"""Kadabra's publishers, and any publisher as a target of the engine."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, ClassVar

from tallystick.compat.kadabra.entries import metrics_of
from tallystick.compat.kadabra.metrics import Metrics
from tallystick.compat.kadabra.utils import timedelta_total_seconds
from tallystick.contracts import ACCEPTED, WriteResult
from tallystick.errors import Unavailable
from tallystick.records import Batch


class DebugPublisher:
    """Logs the list of serialised metrics at INFO."""

    DEFAULT_ARGS: ClassVar[dict[str, Any]] = {"logger_name": "kadabra.publisher"}

    def __init__(self, logger_name: str) -> None:
        self.logger = logging.getLogger(logger_name)

    def publish(self, metrics: list[Metrics]) -> None:
        if metrics:
            self.logger.info([one.serialize() for one in metrics])


class InfluxDBPublisher:
    """Into InfluxDB 1. An agent of this library writes by itself; `publish`, called by hand, needs the package
    `influxdb`, whose client is `client` (None without it).
    """

    DEFAULT_ARGS: ClassVar[dict[str, Any]] = {"host": "localhost", "port": 8086, "database": "kadabra", "timeout": 5}

    def __init__(self, host: str, port: int, database: str, timeout: float) -> None:
        self.client: Any = None
        try:
            import influxdb
        except ImportError:
            pass
        else:
            self.client = influxdb.InfluxDBClient(host=host, port=port, database=database, timeout=timeout)
        self.url = f"influxdb://{host}:{port}/{database}?shape=kadabra&timeout_seconds={timeout}"

    def publish(self, metrics: list[Metrics]) -> None:
        points = [point for one in metrics for point in _points(one)]
        if points:
            self.client.write_points(points)


def _points(metrics: Metrics) -> list[dict[str, Any]]:
    tags = {dimension.name: dimension.value for dimension in metrics.dimensions}
    found = []
    for timer in metrics.timers:
        value = timedelta_total_seconds(timer.value) * timer.unit.seconds_offset
        found.append((timer, {**timer.metadata, "value": value, "unit": timer.unit.name}))
    counted: list[tuple[Any, dict[str, Any]]] = [
        (one, {**one.metadata, "value": one.value}) for one in metrics.counters
    ]
    return [
        {
            "measurement": metric.name,
            "tags": tags,
            "time": datetime.strftime(metric.timestamp, metrics.timestamp_format),
            "fields": fields,
        }
        for metric, fields in [*found, *counted]
    ]


_OF_THE_DATA = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


class PublisherTarget:
    """Any object with `publish(list)`. What it raises for its data (a type, a value, a missing key) is held against the
    entry that it is raised for; anything else means that it cannot take any now, and all wait.
    """

    takes_bytes = False

    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher
        self.address = f"kadabra:{type(publisher).__module__}.{type(publisher).__qualname__}"

    def open(self) -> None:
        """The publisher connects by itself."""

    def write(self, batch: Batch) -> WriteResult:
        metrics = [metrics_of(record) for record in batch.records]
        try:
            self._publisher.publish(metrics)
        except OSError as error:
            raise Unavailable(f"{self.address}: {type(error).__name__}: {error}") from error
        except _OF_THE_DATA:
            raise
        except Exception as error:
            raise Unavailable(f"{self.address}: {type(error).__name__}: {error}") from error
        return ACCEPTED

    def close(self) -> None:
        """It belongs to the user."""
