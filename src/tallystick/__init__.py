"""Tallystick records what an application does and keeps it, never losing and never doubling a record.

from tallystick import Metrics

metrics = Metrics()
metrics.increment("user.signup", tags={"plan": "pro"})
"""

from __future__ import annotations

from tallystick.errors import (
    BackendError,
    Misconfigured,
    MissingExtra,
    QueryError,
    RecordError,
    SettingsError,
    SpoolError,
    TallystickError,
    TooLarge,
    Unavailable,
)
from tallystick.queries import Query, Series
from tallystick.recorder.collector import Collector, current_collector
from tallystick.recorder.filters import drop, rename
from tallystick.recorder.metrics import Metrics
from tallystick.records import Batch, Record
from tallystick.version import __version__

__all__ = [
    "BackendError",
    "Batch",
    "Collector",
    "Metrics",
    "Misconfigured",
    "MissingExtra",
    "Query",
    "QueryError",
    "Record",
    "RecordError",
    "Series",
    "SettingsError",
    "SpoolError",
    "TallystickError",
    "TooLarge",
    "Unavailable",
    "__version__",
    "current_collector",
    "drop",
    "rename",
]
