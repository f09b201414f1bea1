"""`kaneda.backend`, as the documentation's first example imports it: the same as `kaneda.backends`."""

from __future__ import annotations

from tallystick.compat.kaneda.backends import (
    BaseBackend,
    ElasticsearchBackend,
    InfluxBackend,
    LoggerBackend,
    MongoBackend,
    RethinkBackend,
)

__all__ = ["BaseBackend", "ElasticsearchBackend", "InfluxBackend", "LoggerBackend", "MongoBackend", "RethinkBackend"]
