"""The reading end of a spool: what is to be delivered, and what became of it.

Invariants
- Oldest segment first, each in order. What `receive` gives is settled by `settle` before more is received.
- A segment is removed only when all its records were delivered, dead-lettered or counted as dropped, and that is
  durable: the backend's `write` had returned, the dead letters and the positions are synced.
- Records of a segment with a living writer are on their way only while the folder's delivering lock is held, all others
  only while the segment's own lock is held: so who drops old segments (room.py) never drops what is being delivered.
- A segment that this version cannot read stays as it is.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from tallystick.codec import Damage
from tallystick.errors import SpoolError, SpoolTooNew
from tallystick.records import Batch
from tallystick.spool import disk, tally
from tallystick.spool.dead import DeadLetter, DeadLetters, letter
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.reader import SegmentReader
from tallystick.spool.room import Dropped

logger = logging.getLogger("tallystick.spool")

MANY: Final = 64
"""So many finished segments are removed at once, sharing the syncs that must come first."""


class Delivery(msgspec.Struct, frozen=True):
    """A batch on its way, the bytes it was read from, and the lines of its range that could not be read."""

    batch: Batch
    raw: bytes
    damaged: list[Damage]
    reader: SegmentReader

    def line(self, offset: int) -> bytes:
        """The original line at this place of the segment, without its newline."""
        at = offset - self.batch.start
        return self.raw[at : self.raw.index(b"\n", at)]


class SpoolSource:
    """Reads a pipeline's spool. Only who holds the pipeline's `agent.lock` may make one."""

    def __init__(self, folder: Folder, dead: DeadLetters) -> None:
        self.folder = folder
        self.dead = dead
        self.positions = Positions(folder)
        self._readers: dict[str, SegmentReader] = {}
        self._finished: list[SegmentReader] = []
        self._unreadable: set[str] = set()
        self._delivering = disk.LockFile(folder.delivering_lock)
        self._synced: set[str] = set()
        if self.positions.fresh:
            self._count_what_is_known()

    def _count_what_is_known(self) -> None:
        """Without a notebook, what the dead letters tell is all that is known of earlier times."""
        state = self.dead.state()
        self.positions.count_accepted(state.counts() + state.delivered + state.dropped)

    # --- receive and settle ---

    def receive(self, limit: int) -> Delivery | None:
        """The next up to `limit` records of one segment, or None when everything was read (for now)."""
        for identity in self.folder.segment_ids():
            reader = self._reader(identity)
            if reader is None:
                continue
            with contextlib.suppress(FileNotFoundError):  # dropped a moment ago
                raw = self._read(reader, limit)
                if raw:
                    batch, damaged = reader.codec.batch(raw, reader.position)
                    damaged, reader.damaged = reader.damaged + damaged, []
                    return Delivery(batch, raw, damaged, reader)
                if reader.finished:
                    self._finish(identity)
        return None

    def _read(self, reader: SegmentReader, limit: int) -> bytes:
        if reader.own():
            return reader.lines(limit)
        self._delivering.acquire(wait=True)
        raw = b"" if not reader.path.exists() else reader.lines(limit)
        if not raw:
            self._delivering.release()
        return raw

    def _reader(self, identity: str) -> SegmentReader | None:
        reader = self._readers.get(identity)
        if reader is not None or identity in self._unreadable:
            return reader
        if self.folder.dropped(identity).exists():
            return None
        try:
            reader = SegmentReader(self.folder.segment(identity), self.positions.at.get(identity, 0))
        except FileNotFoundError:
            return None
        except SpoolTooNew as error:
            logger.error("%s; it is left alone", error)
            self._unreadable.add(identity)
            return None
        self._readers[identity] = reader
        return reader

    def settle(self, delivery: Delivery, rejected: Mapping[int, str]) -> None:
        """The whole range is done: accepted by the backend but for the `rejected` ones (reason by index).

        Dead letters are written here; positions and counts are saved by `save` or `tidy`.
        """
        batch, reader, positions = delivery.batch, delivery.reader, self.positions
        letters = [letter(batch.header, d.offset, d.line, d.reason) for d in delivery.damaged]
        records = batch.records
        letters += [
            letter(batch.header, records[i].offset, delivery.line(records[i].offset), why)
            for i, why in rejected.items()
        ]
        without_room = self.dead.add(letters) if letters else []
        names = Counter([record.name for record in records])
        positions.count_accepted(names)
        if delivery.damaged:
            positions.count_accepted({"": len(delivery.damaged)})
        positions.count_delivered(names - Counter([records[i].name for i in rejected]))
        if without_room:
            positions.count_dropped("dead_limit", Counter(lost.name for lost in without_room))
        reader.position = batch.end
        positions.at[reader.segment] = batch.end
        self._delivering.release()
        if letters:
            self.save()
        if reader.finished:
            self._finish(reader.segment)

    def abandon(self) -> None:
        """What was received is not settled: it will be received again, by us or by the next."""
        self._delivering.release()

    def settle_dead(self, again: DeadLetter, reason: str | None) -> None:
        """A dead letter was delivered after all, or rejected again with a reason."""
        if reason is None:
            self.dead.delivered([again.id])
        else:
            self.dead.add([letter(again.header, again.offset, again.raw, reason)])

    # --- keeping house ---

    def _finish(self, identity: str) -> None:
        self._finished.append(self._readers.pop(identity))
        if len(self._finished) >= MANY:
            self.tidy()

    @property
    def finished(self) -> bool:
        """Whether segments wait for `tidy` to remove them."""
        return bool(self._finished)

    def save(self) -> None:
        """Note how far delivery has come. A hint: not synced."""
        if self.positions.changed:
            self.positions.save(durable=False)

    def tidy(self) -> None:
        """Remove what is finished and add up what writers left behind, each after its facts are durable.

        Raises `OSError` when the disk takes no notes; nothing is removed then.
        """
        leftovers = self._merge()
        if self._finished:
            self.dead.sync()
        if self._finished or leftovers:
            self.positions.save(durable=True)
        for reader in self._finished:  # its position stays noted until it is gone: a crash here delivers nothing again
            disk.remove(reader.path)
            reader.close()
        self._finished.clear()
        for path, mark in leftovers:
            disk.remove(path)
            self.positions.merged.discard(mark)
        self._forget_removed()
        self.folder.keep_reserve()

    def _merge(self) -> list[tuple[Path, str]]:
        """Add tallies of dead writers and of dropped segments to the counts; what may be removed once that is
        durable.
        """
        merged: list[tuple[Path, str]] = []
        positions = self.positions
        for identity in self.folder.dropped_ids():
            if (mark := f"{identity}.dropped") not in positions.merged:
                with contextlib.suppress(OSError, msgspec.MsgspecError):
                    dropped = msgspec.json.decode(self.folder.dropped(identity).read_bytes(), type=Dropped)
                    positions.count_accepted(dropped.names)
                    positions.count_dropped("drop_old", dropped.names)
            disk.remove(self.folder.segment(identity))
            positions.at.pop(identity, None)
            merged.append((self.folder.dropped(identity), mark))
        for identity in self.folder.tally_ids():
            path, mark = self.folder.tally(identity), f"{identity}.tally"
            with contextlib.suppress(OSError):
                if disk.is_locked(path):
                    continue
                if mark not in positions.merged:
                    self._add_tally(tally.read(path))
                merged.append((path, mark))
        positions.merged.update(mark for _, mark in merged)
        return merged

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
        for reader in (*self._readers.values(), *self._finished):
            reader.close()
        self._readers.clear()
        self._delivering.release()
