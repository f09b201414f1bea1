"""Kaneda's `Metrics`: hands each call to a backend or a queue."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

from tallystick.compat.kaneda.utils import get_kaneda_objects

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("kaneda")


class Metrics:
    """Reports to `backend`, an instance of `kaneda.backends`, or else to `queue`, one of `kaneda.queues`; with neither,
    to what the settings module says. Raises `SettingsError` when it says nothing.

    A call of one of Kaneda's own backends or queues returns when the record is in the spool. A backend or queue of your
    own is called at once, in the caller's thread; its answer is passed on, its exception is logged and counted in
    `failed` by the metric's name.
    """

    def __init__(self, backend: Any = None, queue: Any = None) -> None:
        self.backend = backend
        self.queue = queue
        self.failed: Counter[str] = Counter()
        if not self.backend and not self.queue:
            self.backend, self.queue = get_kaneda_objects()

    def gauge(self, name: str, value: Any, tags: Any = None) -> Any:
        """Record the value of a gauge; what backend or queue answered."""
        return self._report(name, "gauge", value, tags)

    def increment(self, name: str, tags: Any = None) -> None:
        """Increment a counter by one."""
        self._report(name, "counter", 1, tags)

    def decrement(self, name: str, tags: Any = None) -> None:
        """Decrement a counter by one."""
        self._report(name, "counter", -1, tags)

    def timing(self, name: str, value: Any, tags: Any = None) -> None:
        """Record a timing."""
        self._report(name, "timing", value, tags)

    def event(self, name: str, text: Any, tags: Any = None) -> None:
        """Record an event."""
        self._report(name, "event", text, tags)

    def custom(self, name: str, metric: str, value: Any, tags: Any = None, id_: Any = None) -> None:
        """Record a kind of your own (`metric`). The same `id_` again replaces the document."""
        self._report(name, metric, value, tags, id_)

    def timed(self, name: str | None = None, tags: Any = None, use_ms: bool | None = None) -> Timed:
        """Measure a function (as decorator) or a block (as context manager), in seconds as a float, or with `use_ms` in
        whole milliseconds. Without a name, a function's is `<module>.<function name>`."""
        return Timed(self, name, tags, use_ms)

    def _report(self, name: str, metric: str, value: Any, tags: Any, id_: Any = None) -> Any:
        try:
            return (self.backend or self.queue).report(name, metric, value, tags, id_)
        except Exception:
            self.failed[str(name)] += 1
            logger.exception("a record of %s was not reported", name)
            return None


_starts: ContextVar[tuple[tuple[int, float], ...]] = ContextVar("kaneda_starts", default=())
"""Of each block under way in this context: which object entered it, and when."""


class Timed:
    """Each block and each call has a start of its own, so one object can be nested, and shared by threads."""

    def __init__(self, metrics: Metrics, name: str | None, tags: Any, use_ms: bool | None) -> None:
        self.metrics = metrics
        self.name = name
        self.tags = tags
        self.use_ms = use_ms

    def __call__(self, func: Callable[P, R]) -> Callable[P, R]:
        name = self.name or f"{func.__module__}.{getattr(func, '__name__', type(func).__name__)}"

        @wraps(func)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            start = perf_counter()
            try:
                return func(*args, **kwargs)
            finally:
                self._timing(name, perf_counter() - start)

        return wrapped

    def __enter__(self) -> None:
        _starts.set((*_starts.get(), (id(self), perf_counter())))

    def __exit__(self, *failure: object) -> None:
        now, under_way = perf_counter(), _starts.get()
        place = max(place for place, (owner, _) in enumerate(under_way) if owner == id(self))
        _starts.set(under_way[:place])
        self._timing(self.name, now - under_way[place][1])

    def _timing(self, name: Any, seconds: float) -> None:
        self.metrics.timing(name, round(seconds * 1000) if self.use_ms else seconds, self.tags)
