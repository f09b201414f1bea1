"""Making the segments of one process: is there room, and is there a folder?

Invariants
- No other segment is made that would bring the folder over its limit, and none while the reserve is not whole.
- With `drop_old` room is made ahead, by the tender. A call drops nothing old, but for the first of a process. One that
  has waited for the tender in vain goes over the limit by one segment.
- A folder that was taken away is made anew, as at the start; what was in it is lost.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Final, Literal

from tallystick.codec import FORMAT
from tallystick.errors import SpoolError, SpoolUnsupported
from tallystick.interruptions import from_outside
from tallystick.records import Header, Tags
from tallystick.spool import disk
from tallystick.spool.complaints import Complaints
from tallystick.spool.cutting import cut_dead
from tallystick.spool.folder import Folder, new_segment_id
from tallystick.spool.segment import Segment
from tallystick.spool.tally import Tally

FullReason = Literal["spool_limit", "disk_full", "spool_error"]

CUT_SECONDS: Final = 0.002
"""So long a call cuts dead writers' segments; what it leaves the next one finds."""
TRIES: Final = 5
"""How often room is made for a segment: others may be quicker to take it."""
SMALL_SEGMENTS: Final = 16
TENDER_WAITS_SECONDS: Final = 0.5
"""How long the tender waits for the lock of those that deliver; longer only a process holds it that does not move."""


class Maker:
    """`about` is what stands in each header: application, host, tags. `reason` is why the last segment was not made.

    `counts` gives the tally whose file goes with the folder.
    """

    def __init__(
        self,
        folder: Folder,
        about: tuple[str, str, Tags],
        *,
        segment_bytes: int,
        limit_bytes: int,
        drop_old: bool,
        always_sync: bool,
        counts: Callable[[], Tally],
    ) -> None:
        self.reason: FullReason = "spool_limit"
        self._folder = folder
        self._about = about
        self._segment_bytes = segment_bytes
        self._limit_bytes = limit_bytes
        self._drop_old = drop_old
        self.always_sync = always_sync
        self.complaints = Complaints()
        self._counts = counts
        self._begun: list[None] = []
        """One for each segment that is being made."""
        self._error: Exception | None = None

    def make(self, *, warm: bool = False, anew: bool = False, over: bool = False) -> Segment | None:
        """A new segment, or None when there is no room for it, or it cannot be made. `over`: the folder may be over its
        limit by this one.
        """
        app, host, tags = self._about
        header = Header(FORMAT, new_segment_id(), host, os.getpid(), app, started=time.time_ns(), tags=tags)
        self._begun.append(None)
        try:
            if not self._fits(len(self._begun) - over):
                self.reason = "spool_limit"
                return None
            if self._folder.keep_reserve():  # when it had to be freed, what room there is belongs to the agent
                segment = Segment(self._folder.segment(header.segment), header, self._segment_bytes, warm=warm)
                if self.always_sync:
                    disk.sync_folder(self._folder.segments)
                return segment
            self.reason = "disk_full"
        except OSError as error:  # no room, or the folder was taken away: what is recorded is counted
            if from_outside(error):
                raise
            if isinstance(error, FileNotFoundError) and not anew and self._make_folder():
                return self.make(warm=warm, anew=True, over=over)
            self.reason = "disk_full" if error.errno in disk.NO_ROOM else "spool_error"
            self._error = error
        finally:
            with contextlib.suppress(IndexError):
                self._begun.pop()
        return None

    def _fits(self, segments: int) -> bool:
        """Whether there is room for so many, once dead writers' segments are cut.

        Of those that several threads are about to make, none may be in the folder yet. But to drop what is new for a
        moment's doubt would be worse than to be over the limit by one of them.
        """
        counted = segments if self._drop_old else 1
        sizes = self._folder.sizes()
        freed = cut_dead(self._folder, sizes, self._segment_bytes, CUT_SECONDS)
        return sum(sizes.values()) - freed + counted * self._segment_bytes <= self._limit_bytes

    def _make_folder(self) -> bool:
        with contextlib.suppress(SpoolError):  # what is in the way is told by the error that brought us here
            self._folder.open()
            self._counts().close()  # the next count goes into a file that is there
            return True
        return False

    def make_room(self, *, wait_seconds: float = 0.0) -> bool:
        """Drop as many old segments as a new one needs, if that is the policy. Whether there is room for one now."""
        if not self._drop_old:
            return False
        # With what reads segments: applications that drop nothing old need not load it.
        from tallystick.spool.dropping import make_room

        try:
            segments = 1 + len(self._begun)
            if not self._fits(segments):
                make_room(self._folder, segments * self._segment_bytes, self._limit_bytes, wait_seconds)
            return self._fits(segments)
        except SpoolUnsupported:
            raise
        except (OSError, SpoolError) as error:  # the disk takes no notes, or a newer version wrote those that are there
            if from_outside(error):
                raise
            return False

    def make_room_ahead(self) -> None:
        """For who forks next, and for a call that is quicker than the tender. A small spool has none to spare."""
        if self._limit_bytes >= SMALL_SEGMENTS * self._segment_bytes:
            self.make_room(wait_seconds=TENDER_WAITS_SECONDS)

    @property
    def may_make_room(self) -> bool:
        """Whether it was only for the limit, and dropping old segments can help."""
        return self._drop_old and self.reason == "spool_limit"

    def make_with_room(self) -> Segment | None:
        for _ in range(TRIES):
            if not self.make_room():
                break
            if (made := self.make()) is not None:  # else another process took the room
                return made
        return None

    def forget_parent(self) -> None:
        """In a forked child: what threads of the parent were making is theirs."""
        self._begun = []
        self.complaints = Complaints()

    def why(self) -> str:
        """Why the last segment was not made, for a person, with the remedy."""
        if self.reason == "spool_limit":
            return (
                f"the spool {self._folder.path} is full at {self._limit_bytes:,} bytes (spool_limit_bytes); see"
                " `tallystick status` for what keeps its records, or raise the limit"
            )
        if self.reason == "disk_full":
            return f"the disk of {self._folder.path} is full; free room on it"
        return (
            f"no segment can be made in {self._folder.segments} ({self._error}); until one can, it is tried again"
            " every moment"
        )
