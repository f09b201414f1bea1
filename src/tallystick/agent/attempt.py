"""Finding the record that kills the agent.

Before a batch goes to the backend its place is written to the file `attempt`, and taken back when the backend has
answered or failed in an orderly way. So a place that stands there at a start is what was being written when the last
agent died: a suspect. Suspects stay in the file until the agent has got over them.

Invariants
- A suspect range is delivered record by record: the next crash has a single culprit. From then on its neighbours go
  first: where these hang or crash, too, it is not the record. Only a record without neighbours has no such witnesses.
- A single record at which three crashes happened is not tried again: it goes to the dead letters (quarantine).
- A note that is not whole accuses nobody.
- A stop on purpose is no crash, also when the backend hangs and is left to itself, and neither is an `os._exit` (see
  leaving.py). (A process that is killed from outside three times, each time while the same record was on its way, may
  quarantine that record; it can be retried from the dead letters.)
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
from tallystick.threads import Lock

CRASHES: Final = 3
SUSPECTS: Final = 24
"""So many are remembered; the oldest are forgotten first."""
_SIZE_BYTES: Final = 4096


class _Place(msgspec.Struct, frozen=True):
    """Bytes of a segment, how many records they hold, and how often the agent died while they were on their way."""

    segment: str
    start: int
    end: int
    records: int
    crashes: int = 0

    def touches(self, segment: str, start: int, end: int) -> bool:
        return self.segment == segment and self.start < end and start < self.end


class _Notes(msgspec.Struct, frozen=True):
    now: _Place | None = None
    suspects: list[_Place] = []


class Attempt:
    """The notes of one agent, who goes on from those of the last."""

    def __init__(self, folder: Folder) -> None:
        self._fd = -1
        with contextlib.suppress(OSError):  # a foreign thing has its name: delivery goes on without notes
            self._fd = disk.open_own(folder.attempt, os.O_RDWR | os.O_CREAT)
        self._lock = Lock()  # the owner of a thread that hangs in its backend gives up for it
        self._suspects: list[_Place] = []
        with contextlib.suppress(OSError, *UNREADABLE):
            notes = msgspec.json.decode(without_checksum(os.pread(self._fd, _SIZE_BYTES, 0)), type=_Notes)
            self._suspects = notes.suspects
            if notes.now is not None:
                self._accuse(notes.now)

    def _accuse(self, place: _Place) -> None:
        """The agent died there. What is narrower than a known suspect is one more; what is wider takes its place."""
        known = [s for s in self._suspects if s.touches(place.segment, place.start, place.end)]
        crashes = 1 + max((s.crashes for s in known), default=0)
        narrower = [s for s in known if place.start <= s.start and s.end <= place.end]
        self._suspects = [s for s in self._suspects if s not in narrower][1 - SUSPECTS :]
        self._suspects.append(msgspec.structs.replace(place, crashes=crashes))

    def begin(self, batch: Batch) -> None:
        """These records are on their way."""
        self._note(_Place(batch.segment, batch.start, batch.end, len(batch)))

    def end(self) -> None:
        """They are no longer: the backend has answered, or failed in an orderly way."""
        self._note(None)

    def parts(self, batch: Batch) -> tuple[list[Batch], list[Batch]]:
        """The batch as it is to be delivered: whole, or, where it touches suspects, these in single records, the worst
        last. Besides, the single records that must not be tried again.
        """
        self._suspects = [s for s in self._suspects if s.segment != batch.segment or s.end > batch.start]
        suspects = [s for s in self._suspects if s.touches(batch.segment, batch.start, batch.end)]
        if not suspects:
            return [batch], []
        single = [any(s.start <= offset < s.end for s in suspects) for offset in batch.offsets]
        pieces, rest = [], batch
        for cut in range(len(batch) - 1, 0, -1):
            if single[cut] or single[cut - 1]:
                rest, piece = rest.split(cut)
                pieces.append(piece)
        pieces = [rest, *reversed(pieces)]
        accused = [piece for piece in pieces if self._accusing(piece)]
        others = [piece for piece in pieces if not self._accusing(piece)]
        condemned = [piece for piece in accused if any(s.crashes >= CRASHES for s in self._accusing(piece))]
        return [*others, *(piece for piece in accused if piece not in condemned)], condemned

    def quarantine(self, batch: Batch) -> str:
        """Why this record is not tried again. Should it be retried from the dead letters, that is a new try."""
        accusing = self._accusing(batch)
        self._suspects = [s for s in self._suspects if s not in accusing]
        crashes = max(s.crashes for s in accusing)
        return f"quarantined: the agent died {crashes} times delivering this record; mend the cause, then retry it"

    def _accusing(self, batch: Batch) -> list[_Place]:
        """Suspects that are this one record."""
        if len(batch) != 1:
            return []
        offset = batch.offsets[0]
        return [s for s in self._suspects if s.records == 1 and s.touches(batch.segment, offset, offset + 1)]

    def _note(self, now: _Place | None, *, last: bool = False) -> None:
        notes = b""
        if now is not None or self._suspects:
            notes = with_checksum(msgspec.json.encode(_Notes(now, self._suspects)))
        with self._lock, contextlib.suppress(OSError):
            if self._fd >= 0:
                os.pwrite(self._fd, notes.ljust(_SIZE_BYTES), 0)
                if last:
                    fd, self._fd = self._fd, -1
                    os.close(fd)

    def close(self) -> None:
        """Stop on purpose; what is begun from now on is noted no more."""
        self._note(None, last=True)
