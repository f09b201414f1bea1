"""Waiting for a span of real time, whatever a test or a library made of Python's clocks.

freezegun and its kind replace `time.monotonic`; a wait until such a clock has moved on never ends. So spans are
measured by `clock_gettime`, which they leave alone, and a wait also counts what it slept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final


def _steady() -> Callable[[], float]:
    if hasattr(time, "clock_gettime"):
        read, clock = time.clock_gettime, time.CLOCK_MONOTONIC
        return lambda: read(clock)
    return time.monotonic


steady: Final = _steady()
"""Seconds since some moment: only differences mean anything. It does not follow the wall clock."""


class Wait:
    """A wait of at most `seconds`. It ends in real time also while the clock stands still."""

    def __init__(self, seconds: float) -> None:
        self._deadline = steady() + seconds

    @property
    def left(self) -> float:
        """Seconds, 0 or more."""
        return max(0.0, self._deadline - steady())

    @property
    def over(self) -> bool:
        return steady() >= self._deadline

    def sleep(self, seconds: float) -> None:
        """One turn: sleep, but no longer than what is left."""
        seconds, before = min(seconds, self.left), steady()
        time.sleep(seconds)
        if steady() <= before:
            self._deadline -= seconds
