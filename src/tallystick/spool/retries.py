"""Dead letters that a person asked to retry, as deliveries: each source gives them out before new records.

Invariants
- A letter is delivered at its original place, so a retry of what a store already has adds nothing.
- The log is read on from where reading stopped, and no letter is kept in memory that nobody asked for: a log of 100 MB
  costs one pass at the start.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from tallystick.contracts import Delivery
from tallystick.spool.dead import DeadLetter, DeadLetters, Log


class Retries:
    """Looks into the log of dead letters only when it has grown."""

    def __init__(self, dead: DeadLetters) -> None:
        self._dead = dead
        self._log = Log()
        self._waiting: list[DeadLetter] = []

    def receive(self) -> Delivery | None:
        """The next letter as a batch of one record, or None."""
        if not self._waiting:
            self._look()
        while self._waiting:
            letter = self._waiting.pop(0)
            batch = letter.batch()
            if batch.records:
                return Delivery(batch, letter, again=True)
            self._rejected(letter, letter.reason)
        return None

    def _look(self) -> None:
        asked = self._dead.asked(self._log)
        if asked:
            self._waiting = self._dead.letters(asked)
            self._log.asked.clear()

    def settle(self, letter: DeadLetter, rejected: Mapping[int, str]) -> None:
        """The letter was delivered after all, or rejected again with a reason."""
        if rejected:
            self._rejected(letter, next(iter(rejected.values())))
        else:
            self._dead.delivered([letter.id])

    def _rejected(self, letter: DeadLetter, reason: str) -> None:
        self._dead.add([msgspec.structs.replace(letter, time=time.time(), reason=reason)])
