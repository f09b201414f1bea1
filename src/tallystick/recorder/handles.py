"""Pre-bound handles, for hot loops: name and tags are checked and encoded once."""

from __future__ import annotations

from datetime import timedelta
from time import time_ns
from typing import TYPE_CHECKING

from tallystick.codec import MAX_INTEGER, encode
from tallystick.forks import here
from tallystick.interruptions import from_outside
from tallystick.recorder.draft import opposite
from tallystick.recorder.recorder import ONE, Parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallystick.pipelines.inline import Inline
    from tallystick.recorder.timed import Timed
    from tallystick.spool.spool import Spool


class Counter:
    """`metrics.counter("user.signup", tags={"plan": "pro"})`, then `.inc()` as often as you like. Thread-safe."""

    __slots__ = ("_head", "_one", "_slow", "_spool", "_tail")

    def __init__(
        self,
        spool: Spool | Inline,
        slow: Callable[[int | float], None],
        parts: Parts | None,
    ) -> None:
        self._spool = spool
        self._slow = slow
        if parts is not None:
            self._one, self._head, self._tail = parts

    def inc(self, value: float = 1) -> None:
        """Count `value` more. Never raises (unless strict)."""
        try:
            if value is ONE and here[0]:
                self._spool.write(encode(time_ns()).join(self._one))
                return
            if type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER and here[0]:
                self._spool.write(b"".join((b"[", encode(time_ns()), self._head, encode(value), self._tail)))
                return
        except Exception as error:  # no room in the segment, or not encoded ahead: the long way knows what to do
            if from_outside(error):
                raise
        self._slow(value)

    def dec(self, value: float = 1) -> None:
        """Count `value` less."""
        self.inc(opposite(value))


class Timer:
    """`metrics.timer("db.time")`, then `.record(seconds)`, or `with timer.time():`. Thread-safe."""

    __slots__ = ("_record", "_timed")

    def __init__(self, record: Callable[[float | timedelta], None], timed: Callable[[], Timed]) -> None:
        self._record = record
        self._timed = timed

    def record(self, seconds: float | timedelta) -> None:
        """It took this long: seconds, or a `timedelta`."""
        self._record(seconds)

    def time(self) -> Timed:
        """A context manager (and decorator) whose duration is recorded."""
        return self._timed()
