"""One segment, as its writer sees it.

Invariants
- A segment appears under its name only when it is locked by its writer, has all its blocks and carries its header: it
  is made aside and renamed. So a `.jsonl` file without a lock belongs to nobody.
- `write` either stores all bytes of a line or raises `ValueError` (no room, or closed) and stores nothing. It is one C
  call, so under the GIL no two threads' lines mix, and only the line that a killed process was writing can be torn.
- After `seal` nothing more can be written, the file ends with the last line, and the lock is free.
- A forked child can do nothing to its parent's segment, however far it was made when the process forked.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from tallystick.codec import encode_header
from tallystick.forks import inherited, no_fork
from tallystick.records import Header
from tallystick.spool import disk
from tallystick.threads import Lock

_ZEROS: Final = bytes(1 << 16)


class Lines(Protocol):
    """What takes lines in a spool's stead."""

    def write(self, line: bytes) -> object: ...
    def append(self, line: bytes, name: str) -> bool: ...


class Segment:
    """A new segment of `size_bytes` at `path`, ready to be written to.

    `warm` brings all its pages into memory now (about 1 ms for 4 MiB, without the GIL). Otherwise each page's first
    line waits for the kernel, which adds about half to the cost of a write.

    Raises `OSError` (no room), `SpoolUnsupported` (no `flock` here).
    """

    __slots__ = (
        "__weakref__",
        "_aside",
        "_fd",
        "_file",
        "_lost",
        "_map",
        "_unsealed",
        "end",
        "header",
        "path",
        "write",
    )

    def __init__(self, path: Path, header: Header, size_bytes: int, *, warm: bool = False) -> None:
        self.header = header
        self.path = path
        self.end = 0
        self._map: mmap.mmap | None = None
        self._file: _AppendOnly | None = None
        self._aside = path.with_suffix(".new")
        self._lost = False
        self._unsealed = [True]
        self._fd = -1
        inherited(self)
        try:
            with no_fork:
                self._fd = disk.open_own(self._aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
            disk.try_lock(self._fd, self._aside)
            disk.allocate(self._fd, size_bytes)
            if warm and hasattr(os, "pwritev"):
                self._warm(size_bytes)
            self.write = self._writer(size_bytes)
            self.write(encode_header(header))
            disk.rename(self._aside, path)
        except BaseException:
            self.abandon()
            with contextlib.suppress(OSError):  # the error before it is the one to be told
                disk.remove(self._aside)
            raise

    def _warm(self, size_bytes: int) -> None:
        """Only before anything else touches the file: then the kernel takes large pages, which are cheap to map."""
        with contextlib.suppress(OSError):  # cold pages are slower and no worse
            fd = os.open(self._aside, os.O_WRONLY)  # ours appends, wherever it is told to write
            try:
                os.pwritev(fd, [_ZEROS] * (size_bytes // len(_ZEROS)), 0)
            finally:
                os.close(fd)

    def _writer(self, size_bytes: int) -> Callable[[bytes], object]:
        try:
            with no_fork:
                self._map = mmap.mmap(self._fd, size_bytes)
        except (OSError, ValueError):  # a file system without shared mappings: slower, with the same promises
            os.ftruncate(self._fd, 0)
            self._file = _AppendOnly(self._fd, size_bytes)
            return self._file.write
        if getattr(sys, "_is_gil_enabled", lambda: True)():
            return self._map.write
        return _Locked(self._map.write).write

    @property
    def position(self) -> int:
        """How far this segment is written, in bytes."""
        if self._map is not None:
            with contextlib.suppress(ValueError):  # sealed meanwhile: `end` says it
                place = self._map.tell()
                return place if place < len(self._map) else self._map.rfind(b"\n", 0) + 1
        return self._file.position if self._file is not None else self.end

    @property
    def lost(self) -> bool:
        """Whether its file was taken away while we wrote it. Not while another thread seals it."""
        if self._fd < 0:
            return self._lost
        try:
            return not os.path.samestat(os.fstat(self._fd), os.stat(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # nobody knows
            return False

    def sync(self) -> None:
        """Make what was written durable (`fsync = "always"`)."""
        with contextlib.suppress(OSError):  # sealed meanwhile: sealing synced it
            disk.sync(self._fd)

    def seal(self, *, durable: bool = False) -> None:
        """No more lines: cut the file to what was written and give the lock back. Idempotent, and of several threads
        one does it.
        """
        if self._fd < 0:
            return
        try:
            self._unsealed.pop()
        except IndexError:
            return
        try:
            self._lost = self.lost
            if self._map is not None:
                self._map.seek(0, os.SEEK_END)  # from here on every write of another thread raises
                self.end = self._map.rfind(b"\n", 0) + 1
                with no_fork:
                    self._map.close()
                os.ftruncate(self._fd, self.end)
            elif self._file is not None:
                self.end = self._file.close()
            if durable:
                disk.sync(self._fd)
        finally:
            self._let_go()

    def abandon(self) -> None:
        """Let go without a trace in the file: in a forked child (it is the parent's), or when making it failed."""
        with no_fork:
            if self._map is not None:
                self._map.close()
            if self._file is not None:
                self._file.abandon()
            self._let_go()

    def discard(self) -> None:
        """It was never written to, and nobody is to find it."""
        with contextlib.suppress(OSError):  # it is empty: an agent that finds it removes it
            disk.remove(self.path)
        self.abandon()

    def forget_parent(self) -> None:
        self.abandon()

    def _let_go(self) -> None:
        with no_fork:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)


class _AppendOnly:
    """`write` for a file that cannot be mapped: the same promises, one system call a line."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.position = 0
        self._fd = fd
        self._room = size_bytes
        self._lock = Lock()

    def write(self, line: bytes) -> None:
        with self._lock:
            if self._room < self.position + len(line):
                raise ValueError("data out of range")
            try:
                disk.write_all(self._fd, line)
            except OSError as error:  # the disk is full: take the torn piece back
                os.ftruncate(self._fd, self.position)
                raise ValueError(str(error)) from error
            self.position += len(line)

    def close(self) -> int:
        with self._lock:
            self._room = 0
            return self.position

    def abandon(self) -> None:
        """Without the lock, which in a forked child another thread of the parent may hold for ever."""
        self._lock = Lock()
        self._room = 0


class _Locked:
    """Without a GIL, two C calls may run at once: a lock keeps lines whole."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._lock = Lock()

    def write(self, line: bytes) -> None:
        with self._lock:
            self._write(line)
