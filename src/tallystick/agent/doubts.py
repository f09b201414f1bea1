"""Whom a refusal blames: the record, or the database.

A refused record is dead only when others pass. A constraint, a trigger or a column that a person added refuses every
record, and none of them is to blame; the same answer to a single record says which of the two it is no more than to a
thousand. So a batch of which nothing was taken is *in doubt*: it is kept, other batches go first, and it comes again.

Invariants
- A record that the target took after the batch was first refused is the witness. A batch that is refused once more
  after that is to blame itself.
- A batch in doubt is tried again as soon as there is a witness, else after a wait that doubles from 0.5 s to 5 s. It
  comes with the records that followed it in its segment by then, up to 16 times as many as usual: any that passes is a
  witness.
- So a bad record that stands alone waits for the next good one, and holds none up for longer than 5 s.
"""

from __future__ import annotations

from typing import Final

from tallystick.records import Batch
from tallystick.waiting import steady

FIRST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 5.0
LARGEST_STRETCH: Final = 16


class Doubts:
    """The batches in doubt of one agent. `taken` counts the records that its target has accepted."""

    def __init__(self) -> None:
        self.taken = 0
        self._since: dict[tuple[str, int], int] = {}
        self._rounds = 0
        self._due = 0.0

    def __bool__(self) -> bool:
        return bool(self._since)

    def clears(self, batch: Batch, taken_before: int) -> bool:
        """Whether a refusal in this batch may be believed; else the batch is in doubt from now on."""
        place = batch.segment, batch.start
        if self.taken > self._since.get(place, taken_before):
            return True
        if not self._since:
            self._rounds, self._due = 0, steady() + FIRST_SECONDS
        self._since.setdefault(place, taken_before)
        return False

    def settled(self, batch: Batch) -> None:
        self._since.pop((batch.segment, batch.start), None)

    def ripe(self) -> bool:
        """Whether batches in doubt are to be tried again now; then the next wait begins."""
        if not self._since:
            return False
        witnessed = self.taken > min(self._since.values())
        if not witnessed and steady() < self._due:
            return False
        self._rounds = 0 if witnessed else self._rounds + 1
        self._due = steady() + min(LONGEST_SECONDS, FIRST_SECONDS * 2**self._rounds)
        return True

    @property
    def stretch(self) -> int:
        """How many times as many records as usual the next batch may have."""
        return min(LARGEST_STRETCH, 2 ** min(self._rounds, 8)) if self._since else 1
