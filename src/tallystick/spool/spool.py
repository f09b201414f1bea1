"""The writing end of a spool: one segment at a time, for one process.

            tender, or a call in need          a call         tender, or close          agent, or drop_old
  (nothing) ───────────────────────▶ ready ──────────▶ current ────────▶ full ───────▶ sealed ───────────▶ gone
            made aside, blocks,      mostly one;       exactly one; all  no room  cut to length,  settled and noted,
            header, lock, renamed    its name sorts    threads write,    left     lock given      or counted as
                                     last              no lock                    back            dropped

  Locks, in this order: Spool._lock → Tally.lock → no_fork (one system call each). Tender._working never together with
  Spool._lock. Locks of files are only tried, `delivering.lock` by the tender and the agent for half a second; the one
  that is waited for is `dead.lock`. In a child everything left of "sealed" is the parent's; it starts at (nothing).

Invariants
- A call that returned from `write` or `append` without a drop has its line in the segment file: it survives the death
  of this process. Lines go in with no lock and no thread between (see segment.py).
- Every line that found no room is counted, by reason and name, in the process's tally, and logged now and then. Neither
  a full disk nor the size limit raises; with `when_full = "block"` a call waits at most `block_timeout_seconds`.
- Lines in a file that was taken away are lost: who waits for them is told (`lost`), and the next go into another file.
- A forked child never writes into its parent's segment: it lets go of it before any of its own code runs, or, when the
  fork ran no hook of Python's, before it writes (see forks.py).
- One making at a time in a thread: the line of a signal handler that interrupts one waits until that call goes on.
- `write` may be replaced at any time (rotation, fork, close): callers look it up on the spool for each record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from tallystick import forks
from tallystick.interruptions import from_outside
from tallystick.records import Tags
from tallystick.spool.folder import Folder, new_segment_id
from tallystick.spool.making import Maker
from tallystick.spool.patience import Patience, WhenFull
from tallystick.spool.segment import Lines, Segment
from tallystick.spool.standing import Standing
from tallystick.spool.tally import Tally
from tallystick.spool.tender import Tender
from tallystick.threads import RLock
from tallystick.waiting import steady

LATE: Final = 10_000
"""How many lines of signal handlers wait while a segment is made; further ones are dropped and counted."""


class Spool:
    """Where one process appends its records. Thread-safe; usable in a forked child.

    `limit_bytes` bounds the whole folder, all processes together, by whole segments. `on_open` is called at the first
    attempt of each process to record, whether or not a segment could be made.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        app: str = "",
        host: str = "",
        tags: Tags | None = None,
        segment_bytes: int = 4 << 20,
        limit_bytes: int = 1_000_000_000,
        when_full: WhenFull = "drop_new",
        block_timeout_seconds: float = 1.0,
        fsync: Literal["never", "interval", "always"] = "interval",
        on_open: Callable[[], object] | None = None,
    ) -> None:
        self.folder = folder.open()
        self.segment_bytes = segment_bytes
        self._on_open = on_open
        self._closed = False
        self._instead: Lines | None = None
        self._patience = Patience(when_full, block_timeout_seconds)
        self._maker = Maker(
            self.folder,
            (app, host, dict(tags or {})),
            segment_bytes=segment_bytes,
            limit_bytes=limit_bytes,
            drop_old=when_full == "drop_old",
            always_sync=fsync == "always",
            counts=lambda: self.tally,
        )
        self._maker.make_room()
        self._start()
        forks.inherited(self)

    def _start(self) -> None:
        """The state of a spool that has written nothing in this process."""
        self._lock = RLock()  # a signal handler may record while this thread rotates
        self._late: list[tuple[bytes, str]] | None = None
        self._segment: Segment | None = None
        self._standing = Standing()
        self.tally = Tally(self.folder.tally(new_segment_id()), self.folder.with_reserve)
        self._tender = Tender(self._maker, self.tally, self._standing)
        self.write: Callable[[bytes], object] = self._no_segment

    def divert(self, instead: Lines | None) -> None:
        """Send lines elsewhere until it is called with None: for tests that look at what was recorded."""
        self._instead = instead
        self.write = self._writing(self._segment) if instead is None else instead.write

    def _writing(self, segment: Segment | None) -> Callable[[bytes], object]:
        if segment is None:
            return self._no_segment
        return self._write_and_sync if self._maker.always_sync else segment.write

    def _no_segment(self, line: bytes) -> object:
        raise ValueError("no segment is open")

    def _write_and_sync(self, line: bytes) -> None:
        segment = self._segment
        if segment is None:
            raise ValueError("no segment is open")
        segment.write(line)
        segment.sync()

    # --- writing ---

    def append(self, line: bytes, name: str) -> bool:
        """Store a line whatever it takes: open, rotate, wait. False when it was dropped (and counted under `name`)."""
        if self._instead is not None:
            return self._instead.append(line, name)
        forks.look()
        if len(line) > self.segment_bytes // 4:
            return self._drop(
                "too_large", name, f"a line takes at most a quarter of segment_bytes ({self.segment_bytes:,})"
            )
        turns, began = 0, 0.0
        while True:
            segment = self._segment
            if segment is not None:
                try:
                    self.write(line)
                    return True
                except ValueError as error:
                    if from_outside(error):  # whether the line was written, nobody knows
                        raise
            try:
                if self._late is not None and self._waits(line, name):
                    return True
                if self._advance(segment, only_ready=turns > 0 and self._maker.may_make_room):
                    continue
            finally:
                self._attempted()
            if self._closed:
                return self._drop("closed", name, f"{self.folder.path} was closed; record before `close`")
            turns, began = turns + 1, began or steady()
            if not self._patience.waits(turns, began, may_make_room=self._maker.may_make_room):
                if turns > 1 and self._maker.may_make_room and self._advance(self._segment, over=True):
                    continue
                return self._drop(self._maker.reason, name, self._maker.why())

    def _drop(self, reason: str, name: str, sentence: str) -> bool:
        self.tally.add("dropped", reason, name)
        self._maker.complaints.dropped(reason, sentence)
        return False

    def _waits(self, line: bytes, name: str) -> bool:
        """In a signal handler that interrupted `_advance`: the line is written when that goes on."""
        with self._lock:  # which this thread may take again, and another thread waits for
            if self._late is None or len(self._late) >= LATE:
                return False
            self._late.append((line, name))
            return True

    def _advance(self, full: Segment | None, *, only_ready: bool = False, over: bool = False) -> bool:
        """Have a segment other than `full` to write to; False when there is no room for one."""
        late: list[tuple[bytes, str]] = []
        try:
            with self._lock:
                if self._segment is not full:  # another thread was here, or a signal handler of this one
                    return True
                spent = not over and not self._tender.ready and self._patience.spent
                if self._closed or self._late is not None or spent:
                    return False
                self._late = late
                try:
                    found = self._follow(full, only_ready=only_ready, over=over)
                finally:
                    self._late = None
            if full is None and found:
                self.tally.keep(now=True)  # what was counted while there was no room
            return found
        finally:
            for line, name in late:
                self.append(line, name)

    def _follow(self, full: Segment | None, *, only_ready: bool, over: bool) -> bool:
        """Under the lock. While a segment is made, a signal handler of this thread may close the spool."""
        began = steady()
        following = self._tender.take(full)
        if following is None and not only_ready:
            following = self._maker.make(over=over) or self._make_with_room(full)
        if self._closed:
            if following is not None:
                self._tender.give(following)
            return False
        if following is None:
            self._patience.failed(steady() - began, may_make_room=self._maker.may_make_room)
            if full is not None and self._maker.may_make_room:  # the oldest may be our own
                self._segment, self.write = None, self._no_segment
                self._tender.retire(full)
            elif not only_ready:
                self._tender.wake()
            return False
        self._patience.found()
        self._segment = following
        self.write = self._writing(following)
        self._standing.begins(following)
        if full is not None:
            self._tender.retire(full)
        return True

    def _make_with_room(self, full: Segment | None) -> Segment | None:
        """In a call: dropping old segments is the tender's work, but for the first of a process or without a tender."""
        if not self._maker.may_make_room or (self._standing.opened and not self._tender.absent):
            return None
        if full is not None:
            self._tender.old.append(full)
            self._segment, self.write = None, self._no_segment
        self._tender.seal_old()
        return self._maker.make_with_room()

    def _attempted(self) -> None:
        """At the first attempt to record, with or without room: who delivers makes room."""
        if not self._standing.attempted and not self._closed:
            self._standing.attempted = True
            if self._on_open is not None:
                self._on_open()

    # --- where this process stands ---

    def written(self) -> list[tuple[str, int]]:
        """The segments this process wrote and how far, for waiting until they are settled."""
        forks.look()
        with self._lock:
            return self._standing.written(self.folder, (*self._tender.old, *filter(None, [self._segment])))

    def lost(self, settled: list[tuple[str, int]]) -> bool:
        """True if lines of this process were taken away with their file since the last call. `settled` is what
        `written` said before, now that it is settled or gone. What is recorded next goes into another file.
        """
        with self._lock:
            segment = self._segment
            if segment is not None and self._standing.note(segment) and self._instead is None:
                self._advance(segment)
            return self._standing.news(settled)

    def close(self) -> None:
        """Seal the segment; what is recorded afterwards is dropped and counted. Idempotent."""
        forks.look()
        self._closed = True
        self._tender.close()
        self.rest()

    def rest(self) -> None:
        """Seal the segment and keep nothing open; the next record opens another."""
        with self._lock:
            self.write = self._no_segment
            segment, self._segment = self._segment, None
            if segment is not None:
                self._tender.old.append(segment)
        self._tender.rest()
        self.tally.close()
        self._tender.join()

    def forget_parent(self) -> None:
        """In a forked child: the segments, the thread and the counts are the parent's."""
        self.tally.forget()
        self._maker.forget_parent()
        self._start()
