"""The pipeline's books: what was accepted, and where it is now.

    accepted = delivered + pending + dead + dropped        for every metric name

`accepted` and `delivered` come from the agent's notebook, `dead` from the dead letters, `dropped` from the notebook and
the tallies that are not yet in it, and `pending` is counted by reading the segments from where the notebook ends. The
two sides are counted in different places at different moments of a record's way, so an `imbalance` is a finding.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter

import msgspec

from tallystick.errors import SpoolError
from tallystick.spool import disk, tally
from tallystick.spool.dead import DeadLetters
from tallystick.spool.dropping import Dropped, count_names
from tallystick.spool.folder import Folder
from tallystick.spool.positions import NAMES, Positions
from tallystick.spool.reader import SegmentReader


class Account(msgspec.Struct, frozen=True):
    """Counts by metric name (`""`: damaged lines). `since` is epoch seconds; `oldest_pending_seconds` is an age.

    `dropped` and `refused` are by reason, then by name. Refused calls were never accepted.
    """

    since: float
    accepted: Counter[str]
    delivered: Counter[str]
    pending: Counter[str]
    dead: Counter[str]
    dropped: dict[str, Counter[str]]
    refused: dict[str, Counter[str]]
    oldest_pending_seconds: float
    segments: int
    size_bytes: int
    unreadable: list[str]

    def imbalance(self) -> dict[str, int]:
        """Names for which the books do not balance: accepted minus the rest. Empty when all is well."""
        rest = self.delivered + self.pending + self.dead
        for dropped in self.dropped.values():
            rest += dropped
        names = sorted({*self.accepted, *rest})
        return {name: self.accepted[name] - rest[name] for name in names if self.accepted[name] != rest[name]}

    def line(self) -> str:
        """The conservation line, with totals."""
        dropped = sum(sum(names.values()) for names in self.dropped.values())
        sums = [sum(c.values()) for c in (self.accepted, self.delivered, self.pending, self.dead)]
        accepted, delivered, pending, dead = (f"{count:,}" for count in sums)
        sign = "=" if not self.imbalance() else "≠"
        return (
            f"{accepted} accepted {sign} {delivered} delivered + {pending} pending + {dead} dead + {dropped:,} dropped"
        )


def account(folder: Folder) -> Account:
    """The books as of now. Reads only; takes as long as reading what is pending (about a second for 3 million lines).

    While an agent works, the notebook may change between two looks; then it is looked at once more, a few times.
    """
    for _ in range(4):
        before = _stamp(folder)
        books = _account(folder)
        if before == _stamp(folder):
            return books
    return _account(folder)


def _stamp(folder: Folder) -> tuple[int, ...]:
    stamps = []
    for path in (folder.positions, folder.dead, folder.segments):
        with contextlib.suppress(FileNotFoundError):
            stamps.append(path.stat().st_mtime_ns)
    return tuple(stamps)


def _account(folder: Folder) -> Account:
    positions = Positions(folder)
    dead = DeadLetters(folder).state()
    dropped, refused = positions.dropped, positions.refused
    accepted = positions.accepted
    if positions.fresh:
        accepted.update(dead.counts([*folder.segment_ids(), *folder.dropped_ids()], {}) + dead.delivered + dead.dropped)
    if dead.dropped:
        dropped["dead_letter"] = dropped.get("dead_letter", Counter()) + dead.dropped
    pending, oldest, unreadable = _pending(folder, positions)
    for identity in folder.dropped_ids():
        if f"{identity}.dropped" not in positions.merged:
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                gone = msgspec.json.decode(disk.read_own(folder.dropped(identity)), type=Dropped)
                before = gone.uncounted(positions.at.get(identity, 0))
                accepted.update(Counter(gone.names) + Counter(before))
                positions.delivered.update(before)
                names = Counter(gone.names) - dead.beyond(identity, gone.settled)
                dropped.setdefault("drop_old", Counter()).update(names)
    for identity in folder.tally_ids():
        if f"{identity}.tally" not in positions.merged:
            with contextlib.suppress(OSError):
                for (what, reason, name), count in tally.read(folder.tally(identity)).items():
                    (dropped if what == "dropped" else refused).setdefault(reason, Counter())[name] += count
                    if what == "dropped":
                        accepted[name] += count
    letters = dead.counts(folder.segment_ids(), positions.at)
    pending, in_dead, delivered_late = (_together(c, accepted) for c in (pending, letters, dead.delivered))
    return Account(
        since=positions.since,
        accepted=accepted + pending,
        delivered=positions.delivered + delivered_late,
        pending=pending,
        dead=in_dead,
        dropped={reason: _together(names, accepted) for reason, names in dropped.items()},
        refused=refused,
        oldest_pending_seconds=oldest,
        segments=len(folder.segment_ids()),
        size_bytes=folder.size_bytes(),
        unreadable=unreadable,
    )


def _together(counts: Counter[str], known: Counter[str]) -> Counter[str]:
    """As the notebook counts: beyond so many names, further ones together."""
    result: Counter[str] = Counter()
    for name, count in counts.items():
        result[name if name in known or len(known) < NAMES else "*"] += count
    return result


def _pending(folder: Folder, positions: Positions) -> tuple[Counter[str], float, list[str]]:
    pending: Counter[str] = Counter()
    oldest, unreadable = 0.0, []
    dropped = set(folder.dropped_ids())
    for identity in folder.segment_ids():
        if identity in dropped:
            continue
        try:
            reader = SegmentReader(folder.segment(identity), positions.at.get(identity, 0))
        except FileNotFoundError:
            continue
        except SpoolError as error:
            unreadable.append(str(error))
            continue
        except OSError as error:
            unreadable.append(f"{folder.segment(identity)}: {error.strerror}")
            continue
        try:
            if not pending and (first := reader.lines(1)):
                records = reader.codec.batch(first, reader.position)[0].records
                if records:
                    oldest = max(0.0, time.time() - records[0].timestamp_ns / 1e9)
            pending.update(count_names(reader))
        finally:
            reader.close()
    return pending, oldest, unreadable
