"""How long a call waits on a full spool, by policy.

Invariants
- `drop_new` never waits. `drop_old` waits about 2 ms at most, for the thread that drops old segments; `block` as long
  as it is told. Whoever waits holds no lock.
- A wait counts its turns besides the clock, so that a clock that stands still (freezegun) ends it, too.
- After a wait in vain, and after a disk that hangs, the next calls give up at once for a moment: waiting never takes
  most of their time.
"""

from __future__ import annotations

import time
from typing import Final, Literal

from tallystick.waiting import steady

WhenFull = Literal["drop_new", "drop_old", "block"]

LOOK_AGAIN_SECONDS: Final = 0.1
"""How often a full spool looks whether there is room again."""
DROP_OLD_SECONDS: Final = 0.002
FIRST_AGAIN_SECONDS: Final = 0.003
_TURN_SECONDS: Final = {"drop_old": 0.0002, "block": 0.01}


class Patience:
    def __init__(self, when_full: WhenFull, block_timeout_seconds: float) -> None:
        self._when_full = when_full
        self._seconds = {"drop_new": 0.0, "drop_old": DROP_OLD_SECONDS, "block": block_timeout_seconds}[when_full]
        self._turn_seconds = _TURN_SECONDS.get(when_full, 1.0)
        self.full_until = 0.0
        self._again_seconds = FIRST_AGAIN_SECONDS

    @property
    def spent(self) -> bool:
        """Whether it was tried a moment ago."""
        return steady() < self.full_until

    def failed(self, took_seconds: float, *, may_make_room: bool) -> None:
        """A try to make a segment failed, and took so long. `may_make_room`: the tender is about to drop old ones."""
        if not may_make_room:
            self.full_until = steady() + max(LOOK_AGAIN_SECONDS, 10 * took_seconds)

    def found(self) -> None:
        """There is a segment to write to."""
        self._again_seconds = FIRST_AGAIN_SECONDS

    def waits(self, turn: int, began: float, *, may_make_room: bool) -> bool:
        """Wait for a turn, of which this is the number since `began`; False when it has been enough."""
        if self._when_full == "drop_new" or (self._when_full == "drop_old" and (self.spent or not may_make_room)):
            return False
        if turn * self._turn_seconds > self._seconds or steady() - began >= self._seconds:
            if may_make_room:
                self.full_until = steady() + self._again_seconds
                self._again_seconds = min(2 * self._again_seconds, LOOK_AGAIN_SECONDS)
            return False
        time.sleep(self._turn_seconds)
        return True
