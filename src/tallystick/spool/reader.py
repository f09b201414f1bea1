"""One segment, as its reader sees it.

Invariants
- Reading goes in whole lines. What follows the last newline of a segment without a writer was being written when the
  writer died; that call had not returned, so it is no record.
- While a writer lives, a line that holds a NUL is still being copied by it: reading stops before that line.
- The lines of a unit of work are given out when all of them are there. Those that a dead writer left of one are no
  records: that call had not returned either.
- A segment may be removed only while its lock is held (`own`): then no writer is alive, and nobody else is reading it
  in order to deliver or to drop it.
- A position is believed, also where the bytes before it are damaged or gone: what it covers was settled, and its file
  has a checksum.
- A segment's identity is its file's name: a damaged header cannot give its records the ids of others.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tallystick.codec import FORMAT, TOGETHER, DamagedHeader, Reader, decode_header, unit_size
from tallystick.records import Damage, Header
from tallystick.spool import disk

LONGEST_LINE_BYTES: Final = 2 << 20
_HEADER_BYTES: Final = 1 << 12


class SegmentReader:
    """Raises `FileNotFoundError` when the segment is gone, `SpoolTooNew` when this version cannot read it."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self.path = path
        self.lock = disk.LockFile(path, create=False)
        self._fd = disk.open_own(path, os.O_RDONLY)
        self.damaged: list[Damage] = []
        self._end: int | None = None
        try:
            self._read_header(position)
        except BaseException:
            self.close()
            raise

    @property
    def segment(self) -> str:
        return self.path.stem

    def _read_header(self, position: int) -> None:
        line, newline, _ = self._pread(0, _HEADER_BYTES).partition(b"\n")
        if not newline:
            line, newline, _ = self._pread(0, LONGEST_LINE_BYTES).partition(b"\n")
        self.first = len(line) + 1 if newline else 0
        try:
            header = decode_header(line)
            if header.segment != self.segment:
                raise DamagedHeader(f"the header of another segment, {header.segment}")
        except DamagedHeader as error:
            header = Header(tallystick=FORMAT, segment=self.segment)
            if position <= self.first and (line := line.rstrip(b"\0")):
                self.damaged.append(Damage(0, line, str(error)))
        self.codec = Reader(header)
        self.position = max(self.first, min(position, os.fstat(self._fd).st_size))

    def _pread(self, at: int, size: int) -> bytes:
        return os.pread(self._fd, size, at)

    @property
    def owned(self) -> bool:
        return self._end is not None

    def own(self) -> bool:
        """Take the segment over, if its writer is gone. Raises `FileNotFoundError` when it was removed meanwhile."""
        if self._end is None and self.lock.acquire():
            self._end = disk.end_of_lines(self._fd, self.first)
        return self.owned

    def lines(self, limit: int) -> bytes:
        """Up to about `limit` whole lines from the position on; empty when there is nothing (more, or yet)."""
        size = max(4096, 100 * limit)
        while True:
            raw = self._pread(self.position, size)
            asked = len(raw) == size
            if self._end is not None:
                asked = asked and self.position + size < self._end
                raw = raw[: self._end - self.position]
            elif (unwritten := raw.find(b"\0")) >= 0:
                raw, asked = raw[:unwritten], False
            raw = raw[: raw.rfind(b"\n") + 1]
            if raw or not asked:
                break
            size *= 4  # a line longer than all that was read
        raw = self._without_torn_unit(raw)
        rest = raw.split(b"\n", limit)[-1]
        return raw[: len(raw) - len(rest)]

    def _without_torn_unit(self, raw: bytes) -> bytes:
        """The lines but for a unit of work at the end of them that the segment does not hold whole."""
        at = raw.rfind(TOGETHER)
        while at >= 0:
            start = raw.rfind(b"\n", 0, at) + 1
            size = unit_size(raw[start : raw.index(b"\n", at)])
            if size > 1:
                missing = size - raw.count(b"\n", start)
                if missing <= 0 or self._follow(self.position + len(raw), missing):
                    return raw
                if self._end is not None:  # its writer died while it copied them: that call had not returned
                    self._end = self.position + start
                return raw[:start]
            at = raw.rfind(TOGETHER, 0, start)
        return raw

    def _follow(self, at: int, lines: int) -> bool:
        """Whether this many whole lines are at this place."""
        while lines > 0:
            piece = self._pread(at, 1 << 16)
            if self._end is not None:
                piece = piece[: max(0, self._end - at)]
            piece, unwritten, _ = piece.partition(b"\0")
            lines -= piece.count(b"\n")
            at += len(piece)
            if not piece or unwritten:
                break
        return lines <= 0

    @property
    def finished(self) -> bool:
        """Whether all there will ever be was read."""
        return self._end is not None and self.position >= self._end

    def close(self) -> None:
        self.lock.release()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
