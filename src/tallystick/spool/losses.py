"""What was recorded into files that somebody took away.

Nobody removes a segment that its writer has locked; so a file of ours that is gone from its place while we hold its
lock was taken away, and what was in it is lost unless it was settled before. Of a segment that was sealed nobody can
tell: whoever settles it removes it.
"""

from __future__ import annotations

from tallystick.spool.segment import Segment


class Losses:
    """Of one process. A thread may `note` while another, at a time, asks for `news`."""

    def __init__(self) -> None:
        self._lost: dict[str, int] = {}
        self._settled: dict[str, int] = {}

    def note(self, segment: Segment) -> bool:
        """Look at a segment that we wrote; whether it was taken away."""
        if segment.lost:
            self._lost[segment.header.segment] = segment.position
            return True
        return False

    def news(self, settled: list[tuple[str, int]]) -> bool:
        """Whether anything was lost since this was asked last. So far is `settled` now what is not lost."""
        lost = dict(self._lost.popitem() for _ in range(len(self._lost)))
        found = any(end > self._settled.get(identity, 0) for identity, end in lost.items())
        self._settled = {**dict(settled[-1:]), **lost}
        return found
