"""Where one process stands: what it wrote, how far, and what of it was taken away with its file.

No process but its writer removes a segment that is locked. So a file of ours that is gone from its place while we hold
its lock was taken away, and what was in it is lost unless it was settled before. Of a sealed segment this cannot be
told: the agent removes it when it is settled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from tallystick.spool.folder import Folder
from tallystick.spool.segment import Segment


class Standing:
    """A thread may `note` while another, at a time, asks for `news`."""

    def __init__(self) -> None:
        self.attempted = False
        """Whether this process has tried to record."""
        self.opened = False
        """Whether it has had a segment."""
        self._mine: list[str] = []
        self._lost: dict[str, int] = {}
        self._settled: dict[str, int] = {}

    def begins(self, segment: Segment) -> None:
        """This process writes into this segment now."""
        self._mine.append(segment.header.segment)
        self.opened = True

    def written(self, folder: Folder, open_ones: Iterable[Segment]) -> list[tuple[str, int]]:
        """The segments this process wrote and that are still there, and how far."""
        ends = {segment.header.segment: segment.position for segment in open_ones}
        found: list[tuple[str, int]] = []
        for identity in self._mine:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # delivered, or taken away
                found.append((identity, ends.get(identity) or folder.segment(identity).stat().st_size))
        self._mine = [identity for identity, _ in found]
        return found

    def note(self, segment: Segment) -> bool:
        """Look at a segment that we wrote; True if it was taken away."""
        if segment.lost:
            self._lost[segment.header.segment] = segment.position
            return True
        return False

    def news(self, settled: list[tuple[str, int]]) -> bool:
        """True if anything was lost since the last call. `settled` is how far each segment has been settled."""
        lost = dict(self._lost.popitem() for _ in range(len(self._lost)))
        found = any(end > self._settled.get(identity, 0) for identity, end in lost.items())
        self._settled = {**dict(settled[-1:]), **lost}
        return found
