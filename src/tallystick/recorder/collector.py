"""A unit of work: counts, timers, gauges, tags and metadata that are recorded together when it ends.

Invariants
- All or none: the lines of a unit are appended in one copy, and the first says how many they are (`extra.together`). A
  writer that is killed inside that copy leaves fewer, and a reader drops those.
- What is wrong is refused at the call that brings it, and the rest of the unit is recorded.
- A unit that nobody ends is counted as dropped (`unclosed`), by name, and logged.
- Nothing here raises into the application, unless `strict`.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal, ParamSpec, Self, TypeVar

from tallystick.errors import RecordError, SettingsError
from tallystick.recorder.draft import Draft
from tallystick.recorder.recorder import Recorder, Tags
from tallystick.records import COUNTER, EVENT, GAUGE, TIMING

P = ParamSpec("P")
R = TypeVar("R")

OnError = Literal["send", "drop"]

_current: Final[contextvars.ContextVar[Collector | None]] = contextvars.ContextVar("tallystick_collector", default=None)


def current_collector() -> Collector:
    """The collector of the unit of work that this code runs in; outside of any, one that ignores what it gets.

    It is a context variable: each thread, task and request has its own.
    """
    return _current.get() or NOTHING


class Collector:
    """One unit of work. `with metrics.collect(tags={"route": "/checkout"}) as work: work.count("items", 3)`

    Thread-safe. All methods but `close` and `discard` return at once and touch no disk. A name that was counted
    before is added up; a timer or gauge of the same name is replaced.
    """

    def __init__(
        self,
        recorder: Recorder | None,
        tags: Tags = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        inherit: bool = False,
        on_error: OnError = "send",
    ) -> None:
        self._recorder = recorder
        self._on_error = on_error
        self._lock = threading.RLock()
        self._drafts: dict[tuple[str, str], Draft] = {}
        self._tags: dict[str, str] = {}
        self._metadata: dict[str, Any] = {}
        self._closed = False
        self._token: contextvars.Token[Collector | None] | None = None
        self._unclosed: Any = None
        if recorder is None:
            return
        self._unclosed = weakref.finalize(self, _left_open, recorder, self._drafts)
        if inherit and (outer := _current.get()) is not None:
            with outer._lock:
                self._tags |= outer._tags
                self._metadata |= outer._metadata
        self._merge(tags)
        for name, value in (metadata or {}).items():
            self.metadata(name, value)

    # --- what is collected ---

    def count(
        self,
        name: str,
        value: float = 1,
        *,
        metadata: Mapping[str, Any] | None = None,
        timestamp: float | datetime | None = None,
        replace_timestamp: bool = False,
    ) -> None:
        """Count `value` more of `name`.

        The counter's time is that of its first count, unless `replace_timestamp`. `metadata` replaces what the counter
        had; nothing or an empty one keeps it.
        """
        draft = self._draft(COUNTER, name, value, timestamp, metadata)
        if draft is None:
            return
        with self._lock:
            known = self._drafts.get((COUNTER, draft.name))
            if known is not None:
                draft.value = known.value + draft.value  # type: ignore[operator]
                draft.metadata = draft.metadata or known.metadata
                if not replace_timestamp:
                    draft.timestamp_ns = known.timestamp_ns
            self._drafts[COUNTER, draft.name] = draft

    def timer(
        self,
        name: str,
        value: float | timedelta,
        *,
        unit: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timestamp: float | datetime | None = None,
    ) -> None:
        """`name` took this long: seconds or a timedelta, unless `unit` says otherwise. Replaces an earlier value."""
        self._replace(self._draft(TIMING, name, value, timestamp, metadata, unit))

    def gauge(
        self,
        name: str,
        value: float,
        *,
        unit: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timestamp: float | datetime | None = None,
    ) -> None:
        """`name` has this value. Replaces an earlier one."""
        self._replace(self._draft(GAUGE, name, value, timestamp, metadata, unit))

    def event(self, name: str, text: str, *, metadata: Mapping[str, Any] | None = None) -> None:
        """Something happened, in words. Replaces an earlier event of that name."""
        self._replace(self._draft(EVENT, name, text, None, metadata))

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a block, in seconds."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.timer(name, time.perf_counter() - began)

    def tag(self, name: str, value: object) -> None:
        """A tag for every record of the unit. Replaces one of that name."""
        self._merge({name: value})

    def metadata(self, name: str, value: object) -> None:
        """Metadata for every record of the unit; a record's own of that name wins."""
        recorder = self._open_recorder("metadata")
        if recorder is None:
            return
        try:
            checked = recorder.draft(GAUGE, "metadata", 0, metadata={name: value}).metadata
        except RecordError as error:
            recorder.refuse(error, name)
            return
        with self._lock:
            self._metadata |= checked

    def _merge(self, tags: Tags) -> None:
        recorder = self._open_recorder("tags")
        if recorder is None or tags is None:
            return
        try:
            checked = recorder.draft(GAUGE, "tags", 0, tags).tags
        except RecordError as error:
            recorder.refuse(error, "tags")
            return
        with self._lock:
            self._tags |= dict.fromkeys(checked, "true") if isinstance(checked, list) else checked

    def _draft(
        self,
        kind: str,
        name: str,
        value: object,
        timestamp: object,
        metadata: object,
        unit: object = None,
    ) -> Draft | None:
        """A checked draft, or None when it was refused."""
        recorder = self._open_recorder(name)
        if recorder is None:
            return None
        try:
            return recorder.draft(kind, name, value, timestamp=timestamp, metadata=metadata, unit=unit)
        except RecordError as error:
            recorder.refuse(error, name)
            return None

    def _replace(self, draft: Draft | None) -> None:
        if draft is not None:
            with self._lock:
                known = self._drafts.get((draft.kind, draft.name))
                if known is not None:
                    draft.metadata = draft.metadata or known.metadata
                self._drafts[draft.kind, draft.name] = draft

    def _open_recorder(self, name: object) -> Recorder | None:
        if self._closed and self._recorder is not None:
            message = "its unit of work has ended; collect in the unit that runs, or record with metrics"
            self._recorder.refuse(RecordError("closed", "collector", message), name)
            return None
        return self._recorder

    # --- its end ---

    def close(self) -> None:
        """Record what was collected, all of it or none. Idempotent."""
        drafts = self._end()
        if drafts and self._recorder is not None:
            self._recorder.record_together(drafts, self._tags, self._metadata)

    def discard(self) -> None:
        """Record nothing of it. Idempotent."""
        self._end()

    def _end(self) -> list[Draft]:
        with self._lock:
            self._closed = True
            drafts = list(self._drafts.values())
            self._drafts.clear()
        if self._unclosed is not None:
            self._unclosed.detach()
        return drafts

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        token, self._token = self._token, None
        if token is not None:
            with contextlib.suppress(ValueError):  # ended in another context than it began in
                _current.reset(token)
        if kind is not None and self._on_error != "send":
            self.discard()
            return
        if kind is not None and not self._closed:
            self.tag("error", kind.__qualname__)
        self.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)


class Collecting:
    """What `metrics.collect(…)` gives: a context manager, and a decorator that makes a collector for each call."""

    def __init__(self, make: Callable[[], Collector]) -> None:
        self._make = make
        self._open: list[Collector] = []

    def __enter__(self) -> Collector:
        collector = self._make().__enter__()
        self._open.append(collector)
        return collector

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._open.pop().__exit__(kind, error, trace)

    async def __aenter__(self) -> Collector:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        collected: Any
        if inspect.iscoroutinefunction(function):

            async def collected(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._make():
                    return await function(*args, **kwargs)

        else:

            def collected(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._make():
                    return function(*args, **kwargs)

        wrapped: Callable[P, R] = functools.wraps(function)(collected)
        return wrapped


def checked_on_error(on_error: object) -> OnError:
    """Raises `SettingsError`."""
    if on_error not in ("send", "drop"):
        raise SettingsError(f"on_error: {on_error!r:.40} must be 'send' or 'drop'")
    return on_error


def _left_open(recorder: Recorder, drafts: dict[tuple[str, str], Draft]) -> None:
    """A collector was freed, or the interpreter ends, before the unit ended."""
    recorder.lose([draft.name for draft in drafts.values()], "unclosed")


NOTHING: Final = Collector(None)
"""Outside of any unit of work: ignores what it gets."""
