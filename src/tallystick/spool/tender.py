"""The tender: a thread that seals full segments and has the next one ready, room for it included.

Invariants
- No call waits for the tender's work: what they share are two lists, whose steps are atomic. A call that finds nothing
  ready makes a segment itself where there is room. Only with `drop_old`, on a full spool, it waits for a moment.
- `_working` is held by the tender while it works, and never together with a lock that a call holds.
- A ready segment was made before it is needed; its name must sort behind that of the segment that it follows, or it is
  discarded: records are delivered in the order of the names.
"""

from __future__ import annotations

import contextlib
from typing import Final

from tallystick.interruptions import from_outside
from tallystick.spool.background import Background
from tallystick.spool.making import TENDER_WAITS_SECONDS, Maker
from tallystick.spool.segment import Segment
from tallystick.spool.standing import Standing
from tallystick.spool.tally import Tally
from tallystick.threads import RLock, SimpleQueue

CLOSE_SECONDS: Final = 1.0
"""How long `close` waits for what the tender is about; longer only a disk that hangs takes."""


class Tender:
    """Of one spool in one process."""

    def __init__(self, maker: Maker, tally: Tally, standing: Standing) -> None:
        self.ready: list[Segment] = []
        self.old: list[Segment] = []
        """Full ones, to be sealed."""
        self._maker = maker
        self._tally = tally
        self._standing = standing
        self._working = RLock()
        self._wake: SimpleQueue[None] = SimpleQueue()  # an Event could deadlock when a signal handler sets it, too
        self._thread: Background | None = None
        self._closed = False

    # --- for calls ---

    @property
    def absent(self) -> bool:
        """Whether no thread can be had, as when the interpreter shuts down: calls do its work."""
        return self._thread is not None and self._thread.ended

    def take(self, full: Segment | None) -> Segment | None:
        """A ready segment to follow `full`."""
        with contextlib.suppress(IndexError):
            while True:
                segment = self.ready.pop()
                if (full is None or full.path < segment.path) and not segment.lost:
                    return segment
                segment.discard()
        return None

    def give(self, segment: Segment) -> None:
        """A segment that is not needed now."""
        self.ready.append(segment)
        self._discard_if_closed()

    def retire(self, full: Segment) -> None:
        """Seal this one soon, and have another ready."""
        self.old.append(full)
        self.wake()

    def wake(self) -> None:
        self._wake.put(None)
        if self._thread is None and not self._closed:
            self._thread = Background(self._run, "tallystick-spool")
            self._thread.start()  # if it cannot, `close` and calls do the work

    def close(self) -> None:
        """Do nothing more than `rest`."""
        self._closed = True

    def rest(self) -> None:
        """Seal and discard everything. Idempotent."""
        with contextlib.suppress(IndexError):
            while True:
                self.ready.pop().discard()
        self.seal_old()
        self._wake.put(None)

    def join(self) -> None:
        """Wait for the tender's last work, but not where this thread interrupted it."""
        if self._working.acquire(timeout=CLOSE_SECONDS):
            self._working.release()

    # --- its work ---

    def _run(self) -> None:
        while not self._closed:
            self._wake.get()
            self.tend_once()

    def tend_once(self) -> None:
        with self._working:
            self.seal_old()
            if not self.ready and not self._closed:
                self._maker.make_room(wait_seconds=TENDER_WAITS_SECONDS)
                if (made := self._maker.make(warm=True)) is not None:
                    self.ready.append(made)
                    self._maker.make_room_ahead()
            self._tally.keep(now=bool(self.ready))
            self._discard_if_closed()

    def seal_old(self) -> None:
        for segment in list(self.old):
            try:
                segment.seal(durable=self._maker.always_sync)
            except (OSError, ValueError) as error:
                if from_outside(error):
                    raise
            self._standing.note(segment)
            with contextlib.suppress(ValueError):  # `close` was here, too
                self.old.remove(segment)

    def _discard_if_closed(self) -> None:
        with contextlib.suppress(IndexError):
            while self._closed:
                self.ready.pop().discard()
