"""Which recorders are open in this process, and what happens to them at its exit.

At the interpreter's exit each delivers what it can, all of them at once, within the longest of their limits.
"""

from __future__ import annotations

import atexit
import contextlib
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

from tallystick.spool.segment import Lines


class Open(Protocol):
    """What `Metrics` is to this module."""

    def divert(self, instead: Lines | None) -> None: ...
    def begin_close(self, timeout_seconds: float) -> None: ...
    def close(self, timeout_seconds: float) -> None: ...


_open: weakref.WeakSet[Open] = weakref.WeakSet()
_to_close: dict[Open, float] = {}
"""Kept alive until closed: a recorder that nobody refers to any more may still have records to deliver."""
_watchers: list[Callable[[Open], None]] = []


def opened(recorder: Open, exit_timeout_seconds: float) -> None:
    """Called once for each recorder that is not a child of another."""
    _open.add(recorder)
    _to_close[recorder] = exit_timeout_seconds
    for watcher in _watchers:
        watcher(recorder)


def closed(recorder: Open) -> None:
    _to_close.pop(recorder, None)


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
def _close_all() -> None:
    recorders = list(_to_close.items())
    began = time.monotonic()
    for recorder, limit in recorders:
        with contextlib.suppress(Exception):
            recorder.begin_close(limit)
    for recorder, limit in recorders:
        with contextlib.suppress(Exception):
            recorder.close(max(0.0, limit - (time.monotonic() - began)))
