"""Making the segments of one process: is there room, and is there a folder?

Invariants
- No segment is made that would bring the folder over its limit, and none while the reserve is not whole.
- With `drop_old` whoever finds no room makes it, and no more than is needed. A call does not leave that to the
  thread that mostly does it in time, and drops a new record only when it has found nothing old that may go.
- A folder that was taken away is made anew, as at the start; what was in it is lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Final, Literal

from tallystick.codec import FORMAT
from tallystick.errors import SpoolError, SpoolUnsupported
from tallystick.interruptions import from_outside
from tallystick.records import Header, Tags
from tallystick.spool import disk
from tallystick.spool.folder import Folder, new_segment_id
from tallystick.spool.segment import Segment
from tallystick.spool.tally import Tally
from tallystick.threads import Lock

logger = logging.getLogger("tallystick.spool")

FullReason = Literal["spool_limit", "disk_full", "spool_error"]

LOG_SECONDS: Final = 10.0
TRIES: Final = 5
"""So often a call makes room for a segment before it gives up: others may be quicker to take what it made."""


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
        self._always_sync = always_sync
        self._counts = counts
        self._begun: list[int] = []
        """For each segment that is being made, the process that does it: a child finds its parent's here, too."""
        self._error: Exception | None = None
        self._logged = float("-inf")
        self._logging = Lock()

    def make(self, *, warm: bool = False, anew: bool = False) -> Segment | None:
        """A new segment, or None when there is no room for it, or it cannot be made."""
        pid = os.getpid()  # before the name is chosen
        app, host, tags = self._about
        header = Header(FORMAT, new_segment_id(), host, pid, app, started=time.time_ns(), tags=tags)
        self._begun.append(pid)
        try:
            if not self._fits(self._begun.count(pid)):
                self.reason = "spool_limit"
                return None
            if self._folder.keep_reserve():  # when it had to be freed, what room there is belongs to the agent
                segment = Segment(self._folder.segment(header.segment), header, self._segment_bytes, warm=warm)
                if self._always_sync:
                    disk.sync_folder(self._folder.segments)
                return segment
            self.reason = "disk_full"
        except FileExistsError:  # a child that a signal handler forked right before was quicker to take the name
            return self.make(warm=warm)
        except OSError as error:  # no room, or the folder was taken away: what is recorded meanwhile is counted
            if from_outside(error):
                raise
            if isinstance(error, FileNotFoundError) and not anew and self._make_folder():
                return self.make(warm=warm, anew=True)
            self.reason = "disk_full" if error.errno in disk.NO_ROOM else "spool_error"
            self._error = error
        finally:
            with contextlib.suppress(ValueError):
                self._begun.remove(pid)
        return None

    def _fits(self, segments: int) -> bool:
        """Whether there is room for so many. Of those that several threads are about to make, none may be in the folder
        yet; but to drop what is new for a moment's doubt would be worse than to be over the limit by one of them.
        """
        counted = segments if self._drop_old else 1
        return self._folder.size_bytes() + counted * self._segment_bytes <= self._limit_bytes

    def _make_folder(self) -> bool:
        with contextlib.suppress(SpoolError):  # what is in the way is told by the error that brought us here
            self._folder.open()
            self._counts().close()  # the next count goes into a file that is there
            return True
        return False

    def make_room(self) -> bool:
        """Drop as many old segments as a new one needs, if that is the policy. Whether there is room for one now."""
        if not self._drop_old:
            return False
        # With what reads segments: applications that drop nothing old need not load it.
        from tallystick.spool.room import make_room

        try:
            segments = 1 + self._begun.count(os.getpid())
            make_room(self._folder, segments * self._segment_bytes, self._limit_bytes)
            return self._fits(segments)
        except SpoolUnsupported:
            raise
        except (OSError, SpoolError) as error:  # the disk takes no notes, or a newer version wrote those that are there
            if from_outside(error):
                raise
            return False

    @property
    def may_make_room(self) -> bool:
        """Whether it was only for the limit, and that may be mended."""
        return self._drop_old and self.reason == "spool_limit"

    def make_with_room(self) -> Segment | None:
        pid = os.getpid()
        for _ in range(TRIES):
            self.make_room()
            if os.getpid() != pid:  # in a child the tries are its own, and begin anew
                break
            if (made := self.make()) is not None:  # else that thread took the room, perhaps
                return made
        return None

    def complain(self) -> None:
        """Log why segments cannot be made, unless that was done a moment ago. Under no lock that a call waits for."""
        if self.reason != "spool_error" or not self._logging.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._logged < LOG_SECONDS:
                return
            self._logged = time.monotonic()
        finally:
            self._logging.release()
        logger.error(
            "records are dropped, and counted as spool_error: no segment can be made in %s (%s); until one can, it is"
            " tried again every moment",
            self._folder.segments,
            self._error,
        )
