"""A model of a disk that loses and reorders, at a power failure, whatever was not synced.

The code under test works on real files. Beside them the model keeps what a disk would still hold: of each file the
content at its last sync and every later one that was seen, of each folder its entries at its last sync and every change
since. At a power failure each 512 bytes of a file are those of any of these contents, independently of the others, the
file's length is that of any of them, and each change of a folder has happened or not. That is more than real disks and
file systems do; what survives it survives them.

Everything in `spool/disk.py` that changes the disk is a moment at which the power can fail.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tallystick.spool import disk

SECTOR_BYTES = 512


class PowerFailure(BaseException):
    """The machine is off. No `except Exception` goes on after it."""


class _Entries:
    """A folder: the entries (name → inode) as synced, as they are now, and what happened between, in order."""

    def __init__(self) -> None:
        self.synced: dict[str, int] = {}
        self.now: dict[str, int] = {}
        self.changes: list[tuple[str | None, str | None, int]] = []

    def change(self, old: str | None, new: str | None, inode: int) -> None:
        """A new entry, a renamed one, or (`new` None) one that went."""
        self.changes.append((old, new, inode))
        if old is not None:
            self.now.pop(old, None)
        if new is not None:
            self.now[new] = inode

    def after_failure(self, happened: Callable[[], bool]) -> dict[str, int]:
        entries = dict(self.synced)
        for old, new, inode in self.changes:
            if happened():
                if old is not None and entries.get(old) == inode:
                    del entries[old]
                if new is not None:
                    entries[new] = inode
        return entries


class PowerDisk:
    """Everything below `root`, an existing folder whose present content counts as synced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fuse = -1
        """After so many further moments the power fails; never when negative."""
        self.off = False
        self._folders: dict[Path, _Entries] = {root: _Entries()}
        self._contents: dict[int, list[bytes]] = {}
        self._held: dict[int, int] = {}
        """Files by inode, held open, so that no number is given twice."""
        self.observe()
        for contents in self._contents.values():
            del contents[:-1]
        for entries in self._folders.values():
            entries.synced, entries.changes = dict(entries.now), []

    def observe(self) -> None:
        """Take notice of what was created and written since the last time."""
        for folder in [path for path, _, _ in os.walk(self.root)]:
            entries = self._folders.setdefault(Path(folder), _Entries())
            for entry in os.scandir(folder):
                inode = entry.inode()
                if entries.now.get(entry.name) != inode:
                    entries.change(None, entry.name, inode)
                if not entry.is_dir():
                    self._note_content(Path(entry.path), inode)

    def _note_content(self, path: Path, inode: int) -> None:
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_RDONLY)
            self._contents[inode] = [b""]
        fd = self._held[inode]
        content = os.pread(fd, os.fstat(fd).st_size, 0)
        if content != self._contents[inode][-1]:
            self._contents[inode].append(content)

    def close(self) -> None:
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()

    # --- the moments ---

    def moment(self) -> None:
        """Between two things that happen to the disk."""
        if self.off:
            raise PowerFailure
        self.observe()
        self.fuse -= 1
        if self.fuse == 0:
            self.fail()

    def fail(self) -> None:
        self.observe()
        self.off = True
        raise PowerFailure

    def synced(self, fd: int) -> None:
        self.moment()
        inode = os.fstat(fd).st_ino
        if inode in self._contents:
            self._contents[inode] = self._contents[inode][-1:]

    def folder_synced(self, path: Path) -> None:
        self.moment()
        entries = self._folders.get(path)
        if entries is not None:
            entries.synced, entries.changes = dict(entries.now), []

    def renamed(self, old: Path, new: Path) -> None:
        self.moment()
        os.replace(old, new)
        self._folders[old.parent].change(old.name, new.name, self._folders[old.parent].now[old.name])

    def removed(self, path: Path) -> None:
        self.moment()
        if path.exists():
            os.unlink(path)
            entries = self._folders[path.parent]
            entries.change(path.name, None, entries.now[path.name])

    # --- afterwards ---

    def left_over(self, root: Path, seed: int) -> None:
        """Write to `root`, an empty folder, what the disk holds when the power is back."""
        draw = random.Random(seed)
        keeping = draw.choice([0.0, 0.2, 0.5, 0.8, 1.0])
        folders = [(self.root, root)]
        for source, target in folders:
            for name, inode in self._folders[source].after_failure(lambda: draw.random() < keeping).items():
                if source / name in self._folders:
                    (target / name).mkdir()
                    folders.append((source / name, target / name))
                else:
                    (target / name).write_bytes(self._content_after_failure(inode, draw))

    def _content_after_failure(self, inode: int, draw: random.Random) -> bytes:
        contents = self._contents[inode]
        newest = draw.choice([0, len(contents) - 1, draw.randrange(len(contents))])
        possible = contents[: newest + 1]
        size = len(draw.choice(possible))
        sectors = []
        for start in range(0, size, SECTOR_BYTES):
            sector = draw.choice(possible)[start : start + SECTOR_BYTES]
            sectors.append(sector.ljust(SECTOR_BYTES, b"\0"))
        return b"".join(sectors)[:size]


class Patched:
    """The functions of `spool/disk.py` on the disk that `current` gives, until `undo`."""

    def __init__(self, current: Callable[[], PowerDisk]) -> None:
        self._originals = {
            name: getattr(disk, name) for name in ("sync", "sync_folder", "rename", "remove", "write_all")
        }
        write_all: Any = self._originals["write_all"]

        def write(fd: int, data: bytes) -> None:
            current().moment()
            write_all(fd, data)

        disk.sync = lambda fd: current().synced(fd)
        disk.sync_folder = lambda path: current().folder_synced(path)
        disk.rename = lambda old, new: current().renamed(old, new)
        disk.remove = lambda path: current().removed(path)
        disk.write_all = write

    def undo(self) -> None:
        for name, original in self._originals.items():
            setattr(disk, name, original)
