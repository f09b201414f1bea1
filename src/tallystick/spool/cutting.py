"""Cutting what dead writers left: a writer that ends without sealing its segment leaves all its preallocated room.

Sixty jobs of one line each would take 240 MiB otherwise. Processes that end by `os._exit` or a signal seal nothing.

Invariants
- A segment is cut only while we hold its lock: then its writer is gone, and no agent reads it.
- What follows the last newline goes: room without lines, and a torn line, whose call had not returned.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from tallystick.forks import no_fork
from tallystick.spool import disk
from tallystick.spool.folder import Folder
from tallystick.waiting import steady

PAGE_BYTES: Final = 4096
LARGEST_BYTES: Final = 16 << 20
"""Of other processes; to look for the end of the lines in a larger file would take a call's time."""


def cut_dead(folder: Folder, sizes: Mapping[str, int], segment_bytes: int, seconds: float) -> int:
    """Cut dead writers' segments among the files of these sizes, the newest first; how many bytes that freed.

    Stops after about `seconds`. A sealed segment is told by its size, which hardly ever is that of a whole segment.
    """
    deadline = steady() + seconds
    freed = 0
    for name in sorted(sizes, reverse=True):
        size = sizes[name]
        whole = size == segment_bytes or (size % PAGE_BYTES == 0 and size <= LARGEST_BYTES)
        if name.endswith(".jsonl") and size and whole:
            try:
                freed += _cut(folder, name)
            except OSError:  # delivered, taken away, or somebody else's
                continue
            if steady() >= deadline:
                break
    return freed


def _cut(folder: Folder, name: str) -> int:
    path = folder.segments / name
    with no_fork:  # for less than a millisecond: a child would keep the lock
        fd = os.open(path, os.O_RDWR | disk.OWN_FLAGS)
        try:
            return disk.cut_to_lines(fd) if disk.try_lock(fd, path) else 0
        finally:
            os.close(fd)
