"""How far delivery has come, and what became of everything: the agent's notebook.

Invariants
- Positions are a hint, never the truth: the truth is the segments, and in the backend the ledger. A missing, stale or
  garbled file costs at most a repeated delivery; a checksum tells a garbled one, whose positions might skip records.
  Loading never fails for what the file holds, except when a newer version wrote it.
- Positions and counts change together and are saved together, in one replaced file. So after a crash both tell of the
  same moment, and what is delivered again is counted again with it: every record is counted once.
- `accepted` is counted when a line is read from a segment, `delivered` when the backend's verdict is in, `dropped` when
  a record went without being delivered. That the sums agree is therefore a finding, not a definition.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tallystick.codec import UNREADABLE, with_checksum, without_checksum
from tallystick.errors import SpoolTooNew
from tallystick.spool import disk
from tallystick.spool.folder import Folder

FORMAT: Final = 1
NAMES: Final = 5_000
"""So many metric names are counted one by one; further ones are counted together under `"*"`."""


class _Format(msgspec.Struct):
    """What a later format says, too, behind the same checksum."""

    tallystick: int


class _File(_Format):
    since: float
    at: dict[str, int] = {}
    accepted: dict[str, int] = {}
    delivered: dict[str, int] = {}
    dropped: dict[str, dict[str, int]] = {}
    refused: dict[str, dict[str, int]] = {}
    merged: list[str] = []


class Positions:
    """`at[segment]` is the byte offset up to which a segment is settled. `since` (epoch seconds) is when counting
    began.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.since = time.time()
        self.at: dict[str, int] = {}
        self.accepted: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.dropped: dict[str, Counter[str]] = {}
        self.refused: dict[str, Counter[str]] = {}
        self.merged: set[str] = set()
        self.changed = False
        self.fresh = True
        """True when there was no file to go on: counting begins now."""
        self._load()

    def _load(self) -> None:
        try:
            data = without_checksum(disk.read_own(self.folder.positions))
            number = msgspec.json.decode(data, type=_Format).tallystick
            if number > FORMAT:
                raise SpoolTooNew(
                    f"{self.folder.positions} has format {number}, known is up to {FORMAT}; upgrade tallystick"
                )
            file = msgspec.json.decode(data, type=_File)
        except SpoolTooNew:
            raise
        except (OSError, *UNREADABLE):
            return
        self.fresh = False
        self.since = file.since
        self.at = file.at
        self.accepted = Counter(file.accepted)
        self.delivered = Counter(file.delivered)
        self.dropped = {reason: Counter(names) for reason, names in file.dropped.items()}
        self.refused = {reason: Counter(names) for reason, names in file.refused.items()}
        self.merged = set(file.merged)

    def save(self, *, durable: bool) -> None:
        """Write it down, whole or not at all; with `durable` no power failure brings the old one back.

        Raises `OSError` when the disk takes nothing.
        """
        file = _File(
            FORMAT,
            self.since,
            self.at,
            self.accepted,
            self.delivered,
            dict(self.dropped),
            dict(self.refused),
            sorted(self.merged),
        )
        data = with_checksum(msgspec.json.encode(file))
        path = self.folder.positions
        self.folder.with_reserve(lambda: disk.replace_file(path, data, whole=True, durable=durable))
        self.changed = False

    # --- counting ---

    def count_accepted(self, names: Iterable[str] | Mapping[str, int]) -> None:
        for name, count in Counter(names).items():
            self.accepted[name if name in self.accepted or len(self.accepted) < NAMES else "*"] += count
        self.changed = True

    def count_delivered(self, names: Iterable[str] | Mapping[str, int]) -> None:
        for name, count in Counter(names).items():
            self.delivered[self.counted_as(name)] += count

    def count_dropped(self, reason: str, names: Iterable[str] | Mapping[str, int]) -> None:
        """What was accepted and had to go; the names must have been counted as accepted before."""
        for name, count in Counter(names).items():
            self.dropped.setdefault(reason, Counter())[self.counted_as(name)] += count
        self.changed = True

    def counted_as(self, name: str) -> str:
        return name if name in self.accepted else "*"
