"""The interpreter's exit: every open `Metrics` delivers what it can, all at once, within the longest of their
limits.
"""

from __future__ import annotations

import atexit
import contextlib
import time
import weakref
from typing import Protocol


class Closing(Protocol):
    def begin_close(self, timeout_seconds: float) -> None: ...
    def close(self, timeout_seconds: float) -> None: ...


_open: weakref.WeakKeyDictionary[Closing, float] = weakref.WeakKeyDictionary()


def closed_at_exit(closing: Closing, timeout_seconds: float) -> None:
    _open[closing] = timeout_seconds


@atexit.register
def _close_all() -> None:
    closings = list(_open.items())
    began = time.monotonic()
    for closing, limit in closings:
        with contextlib.suppress(Exception):
            closing.begin_close(limit)
    for closing, limit in closings:
        with contextlib.suppress(Exception):
            closing.close(max(0.0, limit - (time.monotonic() - began)))
