"""Finding the record that kills the agent.

Before a batch goes to the backend its place is written to the file `attempt`, and wiped when the backend has answered
or failed in an orderly way. So a place that stands there at a start is what was being written when the last agent died.

Invariants
- A range that was being written at a crash is delivered record by record from then on: the next crash has a single
  culprit.
- A single record at which three crashes happened is not tried again: it goes to the dead letters (quarantine).
- A note that is not whole accuses nobody.
- A stop on purpose wipes the file: stopping is no crash. (A process that is killed from outside three times, each
  time while the same record was on its way, quarantines that record; it can be retried from the dead letters.)
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

import msgspec

from tallystick.codec import UNREADABLE, with_checksum, without_checksum
from tallystick.records import Batch
from tallystick.spool import disk
from tallystick.spool.folder import Folder

CRASHES: Final = 3
_SIZE_BYTES: Final = 256


class _Place(msgspec.Struct, frozen=True):
    segment: str
    start: int
    end: int
    crashes: int
    """How many crashes happened at this place before this attempt."""


class Attempt:
    """The notes of one agent. What it found at its start is in `suspect`."""

    def __init__(self, folder: Folder) -> None:
        self._fd = os.open(folder.attempt, os.O_RDWR | os.O_CREAT, disk.FILE_MODE)
        self.suspect: _Place | None = None
        with contextlib.suppress(*UNREADABLE):
            found = msgspec.json.decode(without_checksum(os.pread(self._fd, _SIZE_BYTES, 0)), type=_Place)
            self.suspect = msgspec.structs.replace(found, crashes=found.crashes + 1)

    def begin(self, batch: Batch) -> None:
        suspect = self.suspect
        crashes = suspect.crashes if suspect is not None and self._touches(batch, suspect) else 0
        self._note(with_checksum(msgspec.json.encode(_Place(batch.segment, batch.start, batch.end, crashes))))

    def end(self) -> None:
        self._note(b"")

    def parts(self, batch: Batch) -> list[Batch]:
        """The batch as it is to be delivered: whole, or, where it touches the suspect range, with that range in
        single records.
        """
        suspect = self.suspect
        if suspect is None or not self._touches(batch, suspect):
            return [batch]
        parts, rest = [], batch
        while len(rest) > 1:
            inside = suspect.start <= rest.records[0].offset < suspect.end
            cut = 1 if inside else next((i for i, r in enumerate(rest.records) if r.offset >= suspect.start), len(rest))
            if cut >= len(rest):
                break
            part, rest = rest.split(cut)
            parts.append(part)
            if not inside and rest.records[0].offset >= suspect.end:
                break
        return [*parts, rest]

    def quarantined(self, batch: Batch) -> str | None:
        """Why this batch must not be tried again, if so."""
        suspect = self.suspect
        if suspect is None or len(batch) != 1 or suspect.crashes < CRASHES or not self._touches(batch, suspect):
            return None
        if suspect.end - suspect.start > batch.end - batch.start:
            return None
        return (
            f"quarantined: the agent died {suspect.crashes} times delivering this record; mend the cause, then retry it"
        )

    @staticmethod
    def _touches(batch: Batch, suspect: _Place) -> bool:
        return batch.segment == suspect.segment and batch.start < suspect.end and suspect.start < batch.end

    def _note(self, text: bytes) -> None:
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, text.ljust(_SIZE_BYTES), 0)

    def close(self) -> None:
        if self._fd >= 0:
            self.end()
            os.close(self._fd)
            self._fd = -1
