"""The writing end of a spool: one segment at a time, for one process.

Invariants
- A call that returned from `write` or `append` without a drop has its line in the segment file: it survives the death
  of this process. Lines go in with no lock and no thread between (see segment.py).
- Every line that found no room is counted, by reason and name, in the process's tally. Neither a full disk nor the size
  limit raises; with `when_full = "block"` a call waits at most `block_timeout_seconds`.
- Lines in a file that was taken away are lost: who waits for them is told (`lost`), and the next go into another file.
- A forked child never writes into its parent's segment: it lets go of it before any of its own code runs, and opens its
  own at its first record (see forks.py), also when a signal handler forked and its child goes on in our midst.
- A call never waits for the thread that makes and seals segments (the tender): what that shares with calls are lists,
  whose steps are atomic. Only a call that finds no segment ready makes one itself, under `_lock`, and room for it.
- `write` may be replaced at any time (rotation, fork, close): callers look it up on the spool for each record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final, Literal

from tallystick.interruptions import from_outside
from tallystick.records import Tags
from tallystick.spool.folder import Folder, new_segment_id
from tallystick.spool.forks import inherited
from tallystick.spool.losses import Losses
from tallystick.spool.making import Maker
from tallystick.spool.segment import Lines, Segment
from tallystick.spool.tally import Tally
from tallystick.spool.worker import Worker
from tallystick.threads import RLock, SimpleQueue
from tallystick.waiting import Wait, steady

WhenFull = Literal["drop_new", "drop_old", "block"]

LOOK_AGAIN_SECONDS: Final = 0.1
"""How often a full spool looks whether there is room again."""
TENDER_SECONDS: Final = 1.0
"""So long `close` waits for what the tender is about; longer only a disk that hangs takes."""


class Spool:
    """Where one process appends its records. Thread-safe; usable in a forked child.

    `limit_bytes` bounds the whole folder, all processes together, by whole segments.
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
        self.limit_bytes = limit_bytes
        self.when_full: WhenFull = when_full
        self._block_timeout_seconds = block_timeout_seconds
        self._always_sync = fsync == "always"
        self._on_open = on_open
        self._segment: Segment | None = None
        self._mine: list[str] = []
        self._closed = False
        self._instead: Lines | None = None
        self._maker = Maker(
            self.folder,
            (app, host, dict(tags or {})),
            segment_bytes=segment_bytes,
            limit_bytes=limit_bytes,
            drop_old=when_full == "drop_old",
            always_sync=self._always_sync,
            counts=lambda: self.tally,
        )
        self._maker.make_room()
        self._start()
        inherited(self)

    def _start(self) -> None:
        """The state of a spool that has written nothing in this process."""
        self._process = object()
        self._lock = RLock()  # a signal handler may record while this thread rotates
        self._tending = RLock()  # held by the tender while it works
        self._wake: SimpleQueue[None] = SimpleQueue()  # an Event could deadlock when a signal handler sets it, too
        self._tended = False
        self._ready: list[Segment] = []
        self._old: list[Segment] = []
        self._full_until = 0.0
        self._making_room = False
        self._losses = Losses()
        self.tally = Tally(self.folder.tally(new_segment_id()), self.folder.with_reserve)
        self.write: Callable[[bytes], object] = self._no_segment

    def divert(self, instead: Lines | None) -> None:
        """Send lines elsewhere until it is called with None: for tests that look at what was recorded."""
        self._instead = instead
        segment = self._segment
        ours = self._no_segment if segment is None else self._write_and_sync if self._always_sync else segment.write
        self.write = ours if instead is None else instead.write

    def _no_segment(self, line: bytes) -> object:
        raise ValueError("no segment is open")

    # --- writing ---

    def append(self, line: bytes, name: str) -> bool:
        """Store a line whatever it takes: open, rotate, wait. False when it was dropped (and counted under `name`)."""
        if self._instead is not None:
            return self._instead.append(line, name)
        wait: Wait | None = None
        if len(line) > self.segment_bytes // 4:
            self.tally.add("dropped", "too_large", name)
            return False
        while True:
            segment = self._segment
            if segment is not None:
                try:
                    self.write(line)
                    return True
                except ValueError as error:
                    if from_outside(error):  # whether the line was written, nobody knows
                        raise
            if self._advance(segment):
                continue
            if self.when_full == "block" and not self._closed:
                wait = wait or Wait(self._block_timeout_seconds)
                if not wait.over:
                    wait.sleep(0.01)
                    continue
            self.tally.add("dropped", "closed" if self._closed else self._maker.reason, name)
            self._maker.complain()
            return False

    def _advance(self, full: Segment | None) -> bool:
        """Have a segment other than `full` to write to; False when there is no room for one.

        While one is made, a signal handler of this thread may do the same, or close, or fork, and a child goes on here.
        """
        with self._lock:
            process = self._process
            if self._segment is not full:  # another thread was here, or a signal handler of this one
                return True
            if self._closed or (not self._ready and steady() < self._full_until):
                return False
            began = steady()
            following = self._take_ready(full) or self._maker.make() or self._make_with_room(full)
            if self._process is not process:  # what we have is the parent's
                return True
            if self._closed or self._segment is not full:  # what we have may come next
                if following is not None:
                    self._ready.append(following)
                    self._discard_all_if_closed()
                return not self._closed
            if following is None:
                ended = steady()  # not even a disk that hangs takes most of the calls' time
                self._full_until = ended + max(LOOK_AGAIN_SECONDS, 10 * (ended - began))
                self._wake_tender()
                return False
            self._segment = following
            self.write = self._write_and_sync if self._always_sync else following.write
            self._mine.append(following.header.segment)
            if full is not None:
                self._old.append(full)
                self._wake_tender()
        if full is None and self._process is process:
            self.tally.keep(now=True)  # what was counted while there was no room
            if self._on_open is not None:
                self._on_open()
        return True

    def _take_ready(self, full: Segment | None) -> Segment | None:
        with contextlib.suppress(IndexError):
            while True:
                segment = self._ready.pop()
                if (full is None or full.path < segment.path) and not segment.lost:
                    return segment
                # Taken away; or a call was quicker and made one: records are delivered in the order of the names.
                segment.discard()
        return None

    def _discard_all_if_closed(self) -> None:
        with contextlib.suppress(IndexError):
            while self._closed:
                self._ready.pop().discard()

    def _write_and_sync(self, line: bytes) -> None:
        segment = self._segment
        if segment is None:
            raise ValueError("no segment is open")
        segment.write(line)
        segment.sync()

    def _make_with_room(self, full: Segment | None) -> Segment | None:
        """In a call: a new segment after all, if old ones may go for it."""
        if not self._maker.may_make_room or self._making_room:
            return None  # a signal handler in the midst of this waits for nothing
        self._making_room = True
        try:
            for segment in filter(None, (*self._old, full)):  # the oldest may be our own
                self._seal(segment)
            return self._maker.make_with_room() or self._take_ready(full)  # the tender may have been quicker
        finally:
            self._making_room = False

    # --- the tender: a thread that seals the old segment and has the next one ready ---

    def _wake_tender(self) -> None:
        self._wake.put(None)
        if not self._tended and not self._closed:
            self._tended = True
            wake = self._wake
            Worker(lambda: self._tend(wake), "tallystick-spool").start()  # if it cannot, `close` does the work

    def _tend(self, wake: SimpleQueue[None]) -> None:
        while not self._closed:
            wake.get()
            self._tend_once()

    def _tend_once(self) -> None:
        with self._tending:
            self._seal_old()
            if not self._ready and not self._closed:
                self._maker.make_room()
                if (made := self._maker.make(warm=True)) is not None:
                    self._ready.append(made)
            self.tally.keep(now=bool(self._ready))  # not only after a while: nobody may come by again for long
            self._discard_all_if_closed()

    def _seal_old(self) -> None:
        for segment in list(self._old):
            self._seal(segment)
            with contextlib.suppress(ValueError):  # `close` was here meanwhile
                self._old.remove(segment)

    def _seal(self, segment: Segment) -> None:
        try:
            segment.seal(durable=self._always_sync)
        except (OSError, ValueError) as error:  # in a child that goes on here it is the parent's, and shut
            if from_outside(error):
                raise
        self._losses.note(segment)

    # --- where this process stands ---

    def written(self) -> list[tuple[str, int]]:
        """The segments this process wrote and how far, for waiting until they are settled."""
        found: list[tuple[str, int]] = []
        with self._lock:
            ends = {
                segment.header.segment: segment.position for segment in (*self._old, *filter(None, [self._segment]))
            }
            for identity in self._mine:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # delivered, or taken away
                    found.append((identity, ends.get(identity) or self.folder.segment(identity).stat().st_size))
            self._mine = [identity for identity, _ in found]
        return found

    def lost(self, settled: list[tuple[str, int]]) -> bool:
        """Whether lines of this process were taken away with their file, since this was asked last. `settled` is what
        `written` said before, now that it is settled or gone. What is recorded next goes into another file.
        """
        with self._lock:
            segment = self._segment
            if segment is not None and self._losses.note(segment) and self._instead is None:
                self._advance(segment)
            return self._losses.news(settled)

    def close(self) -> None:
        """Seal the segment; what is recorded afterwards is dropped and counted. Idempotent."""
        self._closed = True
        self.rest()

    def rest(self) -> None:
        """Seal the segment and keep nothing open; the next record opens another."""
        with self._lock:
            self.write = self._no_segment
            segment, self._segment = self._segment, None
            if segment is not None:
                self._old.append(segment)
        with contextlib.suppress(IndexError):
            while True:
                self._ready.pop().discard()
        self._seal_old()
        self._wake.put(None)
        self.tally.close()
        # The tender never waits for what a call holds, but a call of this thread may hold what `close` interrupted.
        tending = self._tending
        if tending.acquire(timeout=TENDER_SECONDS):
            tending.release()

    def forget_parent(self) -> None:
        """In a forked child: the segments, the thread and the counts are the parent's."""
        self.tally.forget()
        self._segment = None
        self._mine = []
        self._start()
        if self._closed:
            self.write = self._no_segment
