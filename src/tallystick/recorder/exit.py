"""Which recorders are open in this process, and what happens to their records at its exit.

At the interpreter's exit each pipeline delivers what it can, all of them at once, within the longest of their limits.
What is recorded later still, by `atexit` hooks that were registered before ours, by logging's shutdown or by `__del__`,
is stored in the spool for the next process: only `close` ends recording.
"""

from __future__ import annotations

import atexit
import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

from tallystick import forks
from tallystick.spool.segment import Lines
from tallystick.waiting import steady


class Open(Protocol):
    """What `Metrics` is to this module."""

    def divert(self, instead: Lines | None) -> None: ...


class Way(Protocol):
    """Where the records of one or more recorders go."""

    def begin_exit(self, timeout_seconds: float) -> None: ...
    def end_exit(self, timeout_seconds: float) -> None: ...


_open: weakref.WeakSet[Open] = weakref.WeakSet()
_at_exit: dict[Way, float] = {}
"""Kept alive until closed: when the recorder is forgotten, its records may still wait."""
_watchers: list[Callable[[Open], None]] = []


def opened(recorder: Open, way: Way, exit_timeout_seconds: float) -> None:
    """Called once for each recorder that is not a child of another."""
    _open.add(recorder)
    _at_exit[way] = max(exit_timeout_seconds, _at_exit.get(way, 0.0))
    for watcher in _watchers:
        watcher(recorder)


def closed(way: Way) -> None:
    _at_exit.pop(way, None)


@contextlib.contextmanager
def watching(watcher: Callable[[Open], None]) -> Iterator[None]:
    """Calls `watcher` for each recorder that is open, and for each that is opened meanwhile."""
    for recorder in list(_open):
        watcher(recorder)
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


@atexit.register
def _leave() -> None:
    forks.look()
    ways = list(_at_exit.items())
    began = steady()
    for way, limit in ways:
        with contextlib.suppress(Exception):
            way.begin_exit(limit)
    for way, limit in ways:
        with contextlib.suppress(Exception):
            way.end_exit(max(0.0, limit - (steady() - began)))
