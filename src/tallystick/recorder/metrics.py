"""`Metrics`: what an application holds and calls.

Invariants
- A recording call returns when its record is in the spool, and never raises (unless `strict`, and then only
  `RecordError`).
- The short way (name and tags seen before, a plain number) writes at once; everything else takes the long way, in
  recorder.py.
"""

from __future__ import annotations

from collections import Counter as Tallied
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeAlias, TypedDict, TypeVar, Unpack, overload

import msgspec

from tallystick.codec import MAX_INTEGER, encode
from tallystick.errors import QueryError
from tallystick.forks import here
from tallystick.interruptions import from_outside
from tallystick.moments import Moment
from tallystick.pipelines.route import checked_seconds
from tallystick.pipelines.sharing import hold_route
from tallystick.queries import Query, Series
from tallystick.recorder.collector import Collecting, Collector, OnError, checked_on_error
from tallystick.recorder.draft import kept, opposite
from tallystick.recorder.exit import closed, opened
from tallystick.recorder.filters import Filter, Scrub
from tallystick.recorder.handles import Counter, Timer
from tallystick.recorder.recorder import ONE, Recorder, Shared, Tags
from tallystick.recorder.timed import Timed
from tallystick.records import COUNTER, EVENT, GAUGE, TIMING, Record, Value
from tallystick.settings import Settings, load_settings

if TYPE_CHECKING:
    from tallystick.backends.base import Backend
    from tallystick.spool.segment import Lines

P = ParamSpec("P")
R = TypeVar("R")
Timestamp: TypeAlias = Moment | None


class CountDetails(TypedDict, total=False):
    """What a count may tell besides name, value and tags. Each is None when it is not given."""

    timestamp: Timestamp
    """Epoch seconds, an aware datetime or an ISO 8601 text (UTC); default: now."""
    metadata: Mapping[str, Any] | None
    """Stored and not indexed."""
    unit: str | None
    sample_rate: float | None
    """Below 1, only that share of the calls is recorded, and sums count them for the rest."""


_DETAILS: Final = tuple(CountDetails.__annotations__)


class Metrics:
    """Records what happens, durably, in about a microsecond a call.

        metrics = Metrics()                                   # settings, else SQLite in the user's state folder
        metrics = Metrics("sqlite:///metrics.db", app="shop", tags={"env": "prod"})
        metrics.increment("user.signup", tags={"plan": "pro"})

    `backend` is a URL or a backend object; each other argument is the setting of that name (see `settings.py`; None
    means not given). `filters` see every record before it is stored. Raises `SettingsError` or `SpoolError` when it is
    made, and never later.
    """

    def __init__(
        self,
        backend: str | Backend | None = None,
        *,
        app: str | None = None,
        tags: Mapping[str, str] | None = None,
        home: str | Path | None = None,
        pipeline: str | None = None,
        namespace: str | None = None,
        strict: bool | None = None,
        sample_rate: float | None = None,
        filters: Iterable[Filter] = (),
        **settings: object,
    ) -> None:
        loaded = load_settings(
            backend=backend if isinstance(backend, str) else None,
            app=app,
            tags=tags,
            home=home,
            pipeline=pipeline,
            namespace=namespace,
            strict=strict,
            sample_rate=sample_rate,
            **settings,
        )
        self._hold = hold = hold_route(loaded, backend, Scrub(loaded.scrub).tags(loaded.tags))
        self._route = hold.route
        loaded = msgspec.structs.replace(loaded, pipeline=hold.route.pipeline)
        shared = Shared(loaded, hold.route.spool, tuple(filters))
        self._use(Recorder(shared, dict(hold.tags), namespace=loaded.namespace))
        opened(self, hold.route, loaded.exit_timeout_seconds)

    def _use(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._record = recorder.record
        self._write_ready = recorder.write_ready
        self._spool = recorder.spool  # these two once more, since each step to them counts in `increment`
        self._counters = recorder.ready[COUNTER]

    # --- recording ---

    def increment(self, name: str, value: float = 1, *, tags: Tags = None, **details: Unpack[CountDetails]) -> None:
        """Count `value` more of `name`.

        `tags` are a dict, or a list of words. `details` are `timestamp=`, `metadata=`, `unit=` and `sample_rate=`, as
        `CountDetails` describes them; four arguments with defaults would cost a twentieth of the call.
        """
        try:
            if not details:
                same, one, head, tail = self._counters[name][encode(tags)]
                if same == tags and here[0]:
                    if value is ONE:
                        self._spool.write(encode(time_ns()).join(one))
                        return
                    if type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER:
                        self._spool.write(b"".join((b"[", encode(time_ns()), head, encode(value), tail)))
                        return
        except Exception as error:  # not seen before, or no room in the segment, or not to be encoded: the long way
            if from_outside(error):
                raise
        self._increment(name, value, tags, **details)

    def _increment(
        self,
        name: str,
        value: float,
        tags: Tags,
        timestamp: Timestamp = None,
        metadata: Mapping[str, Any] | None = None,
        unit: str | None = None,
        sample_rate: float | None = None,
        **unknown: object,
    ) -> None:
        if unknown:
            raise TypeError(f"increment() got {', '.join(unknown)}; it takes {', '.join(['tags', *_DETAILS])}")
        self._record(COUNTER, name, value, tags, timestamp, metadata, unit, sample_rate)

    def decrement(self, name: str, value: float = 1, *, tags: Tags = None, **details: Unpack[CountDetails]) -> None:
        """Count `value` less of `name`: an increment by `-value`."""
        self.increment(name, opposite(value), tags=tags, **details)

    def gauge(
        self,
        name: str,
        value: float,
        *,
        tags: Tags = None,
        timestamp: Timestamp = None,
        metadata: Mapping[str, Any] | None = None,
        unit: str | None = None,
    ) -> None:
        """`name` has this value now: a number or a bool."""
        if timestamp is None and metadata is None and unit is None and self._write_ready(GAUGE, name, value, tags):
            return
        self._record(GAUGE, name, value, tags, timestamp, metadata, unit)

    def timing(
        self,
        name: str,
        value: float | timedelta,
        *,
        tags: Tags = None,
        timestamp: Timestamp = None,
        metadata: Mapping[str, Any] | None = None,
        unit: str | None = None,
    ) -> None:
        """`name` took this long: a `timedelta`, or seconds unless `unit` says otherwise (`"ms"`)."""
        if timestamp is None and metadata is None and unit is None and self._write_ready(TIMING, name, value, tags):
            return
        self._record(TIMING, name, value, tags, timestamp, metadata, unit)

    @overload
    def timed(self, name: str | None = None, *, tags: Tags = None, use_ms: bool = False) -> Timed: ...
    @overload
    def timed(self, name: Callable[P, R], *, tags: Tags = None, use_ms: bool = False) -> Callable[P, R]: ...
    def timed(self, name: Any = None, *, tags: Tags = None, use_ms: bool = False) -> Any:
        """A context manager, or a decorator for sync, async and generator functions, also bare (`@metrics.timed`).

        Seconds as a float, or with `use_ms` whole milliseconds with the unit `"ms"`. Raises `SettingsError` above a
        class, a property or a class method, which cannot be timed so.
        """
        if callable(name) or isinstance(name, classmethod | property | staticmethod):
            return Timed(self._recorder.record_timed, None, tags, use_ms)(name)
        return Timed(self._recorder.record_timed, name, tags, use_ms)

    def collect(
        self,
        *,
        tags: Tags = None,
        metadata: Mapping[str, Any] | None = None,
        inherit: bool = False,
        on_error: OnError = "send",
    ) -> Collecting:
        """A unit of work, as a context manager or a decorator: what it collects is recorded together when it ends.

            with metrics.collect(tags={"route": "/checkout"}) as work:
                work.count("items", 3)
                current_collector().count("cache.hit")     # the same, anywhere below

        All of its records are delivered, or none. `inherit` starts with the tags and metadata of the unit around it.
        When the block raises, the unit is recorded with the tag `error`, the exception's class; with `on_error="drop"`
        nothing of it is. The exception passes in either case.
        """
        return Collecting(
            lambda: Collector(self._recorder, tags, metadata, inherit=inherit, on_error=checked_on_error(on_error))
        )

    def event(
        self,
        name: str,
        text: str,
        *,
        tags: Tags = None,
        timestamp: Timestamp = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Something happened, in words."""
        self._record(EVENT, name, text, tags, timestamp, metadata)

    def custom(
        self,
        name: str,
        metric: str,
        value: Value,
        tags: Tags = None,
        id_: str | None = None,
        *,
        timestamp: Timestamp = None,
        metadata: Mapping[str, Any] | None = None,
        unit: str | None = None,
    ) -> None:
        """A record of a kind of your own (`metric`), whose value may be a document.

        With `id_`, the same id again replaces the record, unless the stored one is newer. Ids are yours to keep
        apart: one id is one row of the database.
        """
        self._record(metric, name, value, tags, timestamp, metadata, unit, None, id_)

    def record(self, record: Record) -> None:
        """A record made ready elsewhere. Its time, tags and id are kept; its place in another spool is not."""
        self._recorder.record_ready(record)

    # --- bound ---

    def bind(self, *, tags: Tags = None, namespace: str = "") -> Metrics:
        """A child that adds these tags (and puts the namespace before names); it shares everything else.

        Raises `RecordError` for tags that no record could have.
        """
        child = type(self).__new__(type(self))
        child._hold, child._route = self._hold, self._route
        child._use(self._recorder.bind(tags, namespace))
        return child

    def counter(self, name: str, *, tags: Tags = None) -> Counter:
        """A handle for one counter: `signups.inc()`. Raises `RecordError` when no record could have this name or
        tags.
        """
        tags = kept(tags)
        parts = self._recorder.prepare(COUNTER, name, tags)
        return Counter(self._spool, lambda value: self._record(COUNTER, name, value, tags), parts)

    def timer(self, name: str, *, tags: Tags = None) -> Timer:
        """A handle for one timing: `.record(seconds)`, `with handle.time():`."""
        tags = kept(tags)
        self._recorder.prepare(TIMING, name, tags)
        return Timer(lambda seconds: self.timing(name, seconds, tags=tags), lambda: self.timed(name, tags=tags))

    # --- the whole ---

    def query(self, query: Query) -> list[Series]:
        """Ask the backend. What was recorded a moment ago may still be on its way: `flush` first to be sure."""
        if not isinstance(query, Query):
            raise QueryError(f"query: {query!r:.80} is no Query; write tallystick.Query(name)")
        return self._route.query(query)

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        """The records that fit the query's names, kinds, tags and time, whole and oldest first, as the backend has
        them; with `newest`, only that many of the newest. Raises `QueryError` where a backend cannot give them back.
        """
        if not isinstance(query, Query):
            raise QueryError(f"query: {query!r:.80} is no Query; write tallystick.Query(name)")
        return self._route.records(query, newest)

    @property
    def folder(self) -> Path | None:
        """The folder of the pipeline; None where recording is writing and there is no spool."""
        return self._route.path

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until all that this process recorded, and what dead processes left, is settled (delivered, or a dead
        letter). True when it is, and nothing that this process recorded was dropped since the last flush.
        """
        return self._route.flush(checked_seconds(timeout_seconds))

    def close(self, timeout_seconds: float | None = None) -> None:
        """Deliver what can be delivered in this time (default: the setting `exit_timeout_seconds`) and stop.

        What is left stays in the spool for the next process or agent. Idempotent; recording afterwards is counted as
        dropped. While another `Metrics` of the same pipeline is open in this process, both go on.
        """
        given = self._recorder.shared.settings.exit_timeout_seconds if timeout_seconds is None else timeout_seconds
        if self._hold.release(checked_seconds(given)):
            closed(self._route)

    def divert(self, instead: Lines | None) -> None:
        """Let all records of this and its children go elsewhere, until it is called with None: see
        `testing.capture`.
        """
        self._spool.divert(instead)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    @property
    def settings(self) -> Settings:
        return self._recorder.shared.settings

    @property
    def refused(self) -> Tallied[tuple[str, str]]:
        """How many calls of this process were refused, or their records dropped by a filter, by (reason, name)."""
        return self._tallied("refused")

    @property
    def dropped(self) -> Tallied[tuple[str, str]]:
        """How many records of this process were lost, by (reason, name): for want of room, or after `close`."""
        return self._tallied("dropped")

    def _tallied(self, asked: str) -> Tallied[tuple[str, str]]:
        counts = self._spool.tally.counts
        return Tallied({(reason, name): count for (what, reason, name), count in counts.items() if what == asked})

    def __repr__(self) -> str:
        return f"Metrics(pipeline={self.settings.pipeline!r}, home={str(self.settings.home)!r})"
