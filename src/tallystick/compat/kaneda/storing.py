"""One record from a queue into the backend of this worker."""

from __future__ import annotations

import threading
from typing import Any, Final

from tallystick.compat.kaneda.backends.base import Stored
from tallystick.compat.kaneda.utils import get_backend

_backends: Final[list[Any]] = []
_lock = threading.Lock()


def backend() -> Any:
    """The worker's own, made once. Raises `SettingsError`."""
    with _lock:
        if not _backends:
            _backends.append(get_backend())
    return _backends[0]


def store(name: Any, metric: Any, value: Any, tags: Any, id_: Any, at: int | None, host: str) -> Any:
    """`at` and `host` are missing in what an old client left: it is of now, and from here."""
    target = backend()
    if at is not None and hasattr(target, "engine"):
        return target.report(name, metric, value, tags, id_, at=at, host=host)
    return target.report(name, metric, value, tags, id_)


def settle(timeout_seconds: float) -> bool:
    """Wait until the database has what this process stored; else it waits in the spool of this host."""
    target = backend()
    return not isinstance(target, Stored) or target.engine.metrics.flush(timeout_seconds)
