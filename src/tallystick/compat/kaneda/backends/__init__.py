"""Kaneda's backends. The queues are here, too: the documentation names them so in `BACKEND`."""

from __future__ import annotations

from tallystick.compat.kaneda.backends.base import BaseBackend
from tallystick.compat.kaneda.backends.elasticsearch import ElasticsearchBackend
from tallystick.compat.kaneda.backends.influxdb import InfluxBackend
from tallystick.compat.kaneda.backends.logger import LoggerBackend
from tallystick.compat.kaneda.backends.mongodb import MongoBackend
from tallystick.compat.kaneda.backends.rethink import RethinkBackend
from tallystick.compat.kaneda.queues import CeleryQueue, RQQueue, ZMQQueue

__all__ = [
    "BaseBackend",
    "CeleryQueue",
    "ElasticsearchBackend",
    "InfluxBackend",
    "LoggerBackend",
    "MongoBackend",
    "RQQueue",
    "RethinkBackend",
    "ZMQQueue",
]
