"""The reading end of a spool: what is to be delivered, and what became of it.

Invariants
- Oldest segment first, each in order. What `receive` gives is settled by `settle` before more is received.
- A segment is removed only when all its records were delivered, dead-lettered or counted as dropped, and that is
  durable: the backend's `write` had returned, the dead letters and the positions are synced.
- Records of a segment with a living writer are on their way only while the note of underway.py says so, all others only
  while the segment's own lock is held: so who drops old segments (room.py) never drops what is being delivered.
- A segment that cannot be read stays as it is, and holds up no other. Nor does one that was set aside; it is let go of,
  so that `drop_old` may take it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from tallystick.contracts import Delivery
from tallystick.errors import SpoolError
from tallystick.records import Batch
from tallystick.spool import disk, tally
from tallystick.spool.dead import DeadLetter, DeadLetters, State, letter
from tallystick.spool.dropping import Dropped, Underway
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.reader import SegmentReader
from tallystick.spool.retries import Retries

logger = logging.getLogger("tallystick.spool")

MANY: Final = 64
"""So many finished segments are removed at once, sharing the syncs that must come first."""
SAVE_SECONDS: Final = 0.25
TIDY_SECONDS: Final = 1.0


class SpoolSource:
    """Reads a pipeline's spool. Only the holder of the pipeline's `agent.lock` may make one.

    With `fsync_seconds` what applications wrote is made durable that often.
    """

    def __init__(self, folder: Folder, dead: DeadLetters, fsync_seconds: float | None = None) -> None:
        self.folder = folder
        self.dead = dead
        self.positions = Positions(folder)
        self._readers: dict[str, SegmentReader] = {}
        self._finished: dict[str, SegmentReader] = {}
        self._unreadable: set[str] = set()
        self._aside: set[str] = set()
        self._underway = Underway(folder)
        self._synced: set[str] = set()
        self._ahead: dict[str, dict[int, str]] = {}
        self._retries = Retries(dead)
        self._fsync_seconds = fsync_seconds
        self._last_save = self._last_tidy = self._last_sync = 0.0
        if self.positions.fresh:
            self._count_what_is_known()

    def _count_what_is_known(self) -> None:
        """Without a notebook, what the dead letters tell is all that is known of earlier times."""
        state, present = self.dead.state(), {*self.folder.segment_ids(), *self.folder.dropped_ids()}
        self.positions.count_accepted(state.counts(present, {}) + state.delivered + state.dropped)
        for found in state.letters.values():  # those that will be read again, unless damage took their lines away
            if found.header.segment in present:
                self._ahead.setdefault(found.header.segment, {})[found.offset] = found.name

    def _count_letters_of_no_line(self, segment: str, end: float, offsets: set[int]) -> None:
        """Count the earlier dead letters up to `end` whose lines were not among those at `offsets`."""
        ahead = self._ahead.get(segment, {})
        for offset in [offset for offset in ahead if offset < end]:
            name = ahead.pop(offset)
            if offset not in offsets:
                self.positions.count_accepted({name: 1})

    # --- receive and settle ---

    def receive(self, limit_records: int, timeout_seconds: float = 0.0) -> Delivery | None:
        """A dead letter to retry, else the next records of one segment, or at once None when all was read (for now)."""
        return self._retries.receive() or self._read_on(limit_records)

    def _read_on(self, limit: int) -> Delivery | None:
        for identity in self.folder.segment_ids():
            if identity in self._finished or identity in self._aside or self.folder.dropped(identity).exists():
                continue
            try:
                reader = self._readers.get(identity) or self._open(identity)
                raw = self._read(reader, limit)
            except FileNotFoundError:  # dropped a moment ago
                continue
            except OSError as error:
                self._complain(identity, error)
                continue
            if raw or (reader.damaged and reader.owned):
                batch = Batch.of(reader.codec.header, reader.position, raw, reader.codec)
                return Delivery(batch, reader)
            if reader.finished:
                self._finish(identity)
        return None

    def _read(self, reader: SegmentReader, limit: int) -> bytes:
        if reader.own():
            return reader.lines(limit)
        underway = self._underway
        with underway.held() as ours:
            raw = reader.lines(limit) if ours and reader.path.exists() else b""
            if raw:
                underway.note.delivering = reader.segment
                underway.write()
        return raw

    def _open(self, identity: str) -> SegmentReader:
        reader = SegmentReader(self.folder.segment(identity), self.positions.at.get(identity, 0))
        self._readers[identity] = reader
        return reader

    def _complain(self, identity: str, error: OSError) -> None:
        """Once a segment: it is looked at again each time, in case somebody mends it."""
        if identity not in self._unreadable:
            self._unreadable.add(identity)
            logger.error("%s; the segment %s is left alone", error, self.folder.segment(identity))

    def settle(self, delivery: Delivery, rejected: Mapping[int, str]) -> None:
        """The whole range is done: accepted by the backend but for the `rejected` ones (reason by index).

        Dead letters are written here; positions and counts are saved by `save` or `tidy`.
        """
        if isinstance(delivery.token, DeadLetter):
            self._retries.settle(delivery.token, rejected)
            return
        batch, positions = delivery.batch, self.positions
        reader: SegmentReader = delivery.token
        damaged = [*reader.damaged, *batch.damaged]
        reader.damaged = []
        letters = [letter(batch.header, d.offset, d.line, d.reason) for d in damaged]
        offsets = batch.offsets
        letters += [letter(batch.header, offsets[i], batch.line(offsets[i]), why) for i, why in rejected.items()]
        without_room = self.dead.add(letters) if letters else []
        names = Counter(batch.names)
        positions.count_accepted(names)
        positions.count_accepted(Counter(lost.name for lost in letters[: len(damaged)]))
        self._count_letters_of_no_line(reader.segment, batch.end, {found.offset for found in letters})
        positions.count_delivered(names - Counter([batch.names[i] for i in rejected]))
        if without_room:
            positions.count_dropped("dead_limit", Counter(lost.name for lost in without_room))
        reader.position = batch.end
        positions.at[reader.segment] = batch.end
        if self._underway.note.delivering:
            self._underway.settled(reader.segment, batch.end)
        if letters:  # durable before the positions say that they are settled
            self.dead.sync()
            self.save()
        if reader.finished:
            self._finish(reader.segment)

    def set_aside(self, delivery: Delivery) -> None:
        identity = delivery.token.segment
        self._aside.add(identity)
        self._readers.pop(identity).close()
        self._underway.close()

    def take_up(self) -> None:
        self._aside.clear()

    def keep(self, delivery: Delivery) -> None:
        """Nothing to extend: the elected agent holds the spool's lock."""

    # --- keeping house ---

    def _finish(self, identity: str) -> None:
        self._count_letters_of_no_line(identity, float("inf"), set())
        self._finished[identity] = self._readers.pop(identity)
        if len(self._finished) >= MANY:
            self.tidy()

    def tend(self, *, idle: bool = False) -> None:
        """Save, tidy and sync, each in its own rhythm. Raises `OSError` or `SpoolError`; the next call tries again."""
        now = time.monotonic()
        if idle or now - self._last_save >= SAVE_SECONDS:
            self._last_save = now
            self.save()
        if now - self._last_tidy >= TIDY_SECONDS or (idle and self._finished):
            self._last_tidy = now
            self.tidy()
        if self._fsync_seconds is not None and now - self._last_sync >= self._fsync_seconds:
            self._last_sync = now
            self.sync_spool()

    def save(self) -> None:
        """Note how far delivery has come. A hint: a power failure may bring an older one back."""
        if self.positions.changed:
            self.positions.save(durable=False)
            self._underway.saved()

    def tidy(self) -> None:
        """Remove what is finished and add up what writers left behind, each after its facts are durable.

        Raises `OSError` when the disk takes no notes; nothing is removed then.
        """
        leftovers, segments = self._merge()
        segments += [reader.path for reader in self._finished.values()]
        if segments or leftovers:
            self.positions.save(durable=True)
            self._underway.saved()
        # What says that something is done with stays until it is gone for good: otherwise a power failure could bring
        # the thing back alone, and it would be delivered or counted again.
        self._remove(segments)
        for reader in self._finished.values():
            reader.close()
        self._finished.clear()
        self._remove(leftovers)
        self.positions.merged.difference_update(path.name for path in leftovers)
        self.positions.changed |= bool(leftovers)
        self._forget_removed()
        self.folder.sweep()
        self.folder.keep_reserve()

    def _remove(self, paths: list[Path]) -> None:
        for path in paths:
            disk.remove(path)
        if paths:
            disk.sync_folder(self.folder.segments)

    def _merge(self) -> tuple[list[Path], list[Path]]:
        """Add tallies of dead writers and of dropped segments to the counts. These, and the segments that were
        dropped, may be removed once that is durable.
        """
        merged: list[Path] = []
        segments: list[Path] = []
        positions = self.positions
        gone = self.folder.dropped_ids()
        letters = self.dead.state() if gone else State()
        for identity in gone:
            path = self.folder.dropped(identity)
            if path.name not in positions.merged:
                with contextlib.suppress(OSError, msgspec.MsgspecError):
                    dropped = msgspec.json.decode(disk.read_own(path), type=Dropped)
                    before = dropped.uncounted(positions.at.get(identity, 0))
                    positions.count_accepted(Counter(dropped.names) + Counter(before))
                    positions.count_delivered(before)
                    dead = letters.beyond(identity, dropped.settled)  # the agent died before it noted that
                    positions.count_dropped("drop_old", Counter(dropped.names) - dead)
            segments.append(self.folder.segment(identity))
            merged.append(path)
        for identity in self.folder.tally_ids():
            path = self.folder.tally(identity)
            with contextlib.suppress(OSError):
                if disk.is_locked(path):
                    continue
                if path.name not in positions.merged:
                    self._add_tally(tally.read(path))
                merged.append(path)
        positions.merged.update(path.name for path in merged)
        return merged, segments

    def _add_tally(self, counts: Counter[tally.Label]) -> None:
        for (what, reason, name), count in counts.items():
            if what == "dropped":
                self.positions.count_accepted({name: count})
                self.positions.count_dropped(reason, {name: count})
            else:
                self.positions.refused.setdefault(reason, Counter())[name] += count

    def _forget_removed(self) -> None:
        present = set(self.folder.segment_ids())
        for identity in [known for known in self._readers if known not in present]:
            self._readers.pop(identity).close()
        for identity in [known for known in self.positions.at if known not in present]:
            if not self.folder.dropped(identity).exists():  # its counts go by this position
                del self.positions.at[identity]

    def sync_spool(self) -> None:
        """Make durable what was written since the last call (`fsync = "interval"`).

        A segment whose writer is gone is synced once; those with a living writer each time (cheap when nothing is new).
        """
        present = self.folder.segment_ids()
        if not self._synced.issuperset(present):
            disk.sync_folder(self.folder.segments)
        for identity in present:
            path = self.folder.segment(identity)
            if identity not in self._synced:
                with contextlib.suppress(OSError):
                    ended = not disk.is_locked(path) or (identity in self._readers and self._readers[identity].owned)
                    disk.sync_file(path)
                    if ended:
                        self._synced.add(identity)
        self._synced.intersection_update(present)

    def close(self, *, keep_notes: bool = True) -> None:
        """Let go; without `keep_notes` as well of what was not saved yet: another agent's notes are the newer ones."""
        with contextlib.suppress(OSError, SpoolError):
            if keep_notes:
                self.tidy()
                self.save()
        for reader in (*self._readers.values(), *self._finished.values()):
            reader.close()
        self._readers.clear()
        self._underway.close()
