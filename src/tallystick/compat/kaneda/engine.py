"""From one of Kaneda's calls to a record in the spool of where it goes.

Two backends or queues with the same destination share one `Metrics` of ours, and so one spool and one agent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, Final

from tallystick.compat.kaneda.given import HOST, kind_to, tags_to, value_to
from tallystick.recorder.metrics import Metrics
from tallystick.records import Record

_metrics: Final[dict[Hashable, Metrics]] = {}
_lock = threading.Lock()


class Engine:
    """`make` gives what the records of `key` go to, a URL or a target; called at the first record."""

    def __init__(self, key: Hashable, make: Callable[[], Any], app: str | None = None) -> None:
        self._key = (key, app)
        self._make = make
        self._app = app

    @property
    def metrics(self) -> Metrics:
        found = _metrics.get(self._key)
        if found is None:
            with _lock:
                found = _metrics.get(self._key)
                if found is None:
                    found = _metrics[self._key] = Metrics(self._make(), app=self._app)
        return found

    def record(
        self, name: Any, metric: Any, value: Any, tags: Any, id_: str | None, at: int | None = None, host: str = ""
    ) -> None:
        """`at` (nanoseconds) and `host` are those of a record that came through a queue. Never raises."""
        value = value_to(value)
        kind = kind_to(metric, value)
        given, metadata = tags_to(tags)
        metrics = self.metrics
        if at is None:
            metrics.custom(name, kind, value, given, id_, metadata=metadata)
            return
        if host and host != metrics.settings.host:
            metadata = {**(metadata or {}), HOST: host}
        words = tuple(given) if isinstance(given, list) else ()
        texts = dict.fromkeys(words, "true") if words else given or {}
        metrics.record(Record(at, kind, name, value, texts, words, metadata=metadata or {}, own_id=id_))
