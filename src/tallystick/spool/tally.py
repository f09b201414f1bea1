"""Counts of what a writer did not store, kept where a dead process cannot take them along.

A tally is a small mapped file of fixed slots, each a label and a 64-bit count. Counting writes eight bytes into the
map, which neither `kill -9` nor a full disk undoes. It is made at the first thing to count, so most writers have none.

Labels are JSON lists `[what, reason, name]`: `what` is `"dropped"` (was accepted, had to go) or `"refused"` (was never
accepted). When the slots run out, what comes further is counted under the reason `"other"` and the name `"*"`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tallystick.codec import UNREADABLE
from tallystick.spool import disk

SLOT_BYTES: Final = 512
SLOTS: Final = 128
NAME_CHARACTERS: Final = 64
AGAIN_SECONDS: Final = 0.1
"""How often a full disk is asked for room again."""
MOST: Final = 1 << 48
"""No count is larger: a slot that says so is damaged."""
_COUNT: Final = struct.Struct("<q")
_LABEL_AT: Final = _COUNT.size

Label = tuple[str, str, str]
_labels = msgspec.json.Decoder(tuple[str, str, str])


class Tally:
    """The counts of one writing process. Thread-safe, also in a signal handler that interrupts a count.

    Never raises for want of disk: `with_reserve` helps, and where it cannot the counts stay in memory until it can.
    """

    def __init__(self, path: Path, with_reserve: Callable[[Callable[[], None]], None] = lambda write: write()) -> None:
        self.path = path
        self._with_reserve = with_reserve
        self._next_try = 0.0
        self.counts: Counter[Label] = Counter()
        self._slots: dict[Label, int] = {}
        self._map: mmap.mmap | None = None
        self._fd = -1
        self.lock = threading.RLock()
        self._closed = False

    def add(self, what: str, reason: str, name: str, count: int = 1) -> None:
        with self.lock:
            label = (what, reason, name[:NAME_CHARACTERS])
            if label not in self.counts and len(self.counts) >= SLOTS - 2:
                label = (what, "other", "*")
            self.counts.setdefault(label, 0)
            self.counts[label] += count  # without a call in between, during which a signal handler might count the same
            if self._map is not None or self._open():
                self._write(label)

    def _write(self, label: Label) -> None:
        if self._map is None:
            return
        known = label in self._slots
        at = self._slots.setdefault(label, len(self._slots)) * SLOT_BYTES
        _COUNT.pack_into(self._map, at, self.counts[label])
        if not known:
            text = msgspec.json.encode(label)
            self._map[at + _LABEL_AT : at + _LABEL_AT + len(text)] = text

    def _open(self) -> bool:
        if self._closed or time.monotonic() < self._next_try:
            return False
        self._next_try = time.monotonic() + AGAIN_SECONDS  # also holds off a signal handler that comes in between
        aside = self.path.with_name(f"{self.path.name}.new")
        fd = -1
        try:
            fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, disk.FILE_MODE)
            disk.try_lock(fd, aside)
            self._with_reserve(lambda: disk.allocate(fd, SLOT_BYTES * SLOTS))
            self._map = mmap.mmap(fd, SLOT_BYTES * SLOTS)
            disk.rename(aside, self.path)
        except OSError:
            if fd >= 0:
                os.close(fd)
                disk.remove(aside)
            self._map = None
            return False
        self._fd = fd
        for label in list(self.counts):  # what was counted while there was no room
            self._write(label)
        return True

    def close(self) -> None:
        """Let go of the file; the agent adds it to the pipeline's counts and removes it. What is counted afterwards
        is counted in memory only."""
        self._closed = True
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def forget(self) -> None:
        """In a forked child: the counts are the parent's."""
        self.lock = threading.RLock()
        self.close()


def read(path: Path) -> Counter[Label]:
    """What a tally file counts. A slot that cannot be read is passed over."""
    found: Counter[Label] = Counter()
    data = path.read_bytes()
    for at in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
        text = data[at + _LABEL_AT : at + SLOT_BYTES].rstrip(b"\0")
        if text:
            count = _COUNT.unpack_from(data, at)[0]
            with contextlib.suppress(*UNREADABLE):
                label = _labels.decode(text)
                if 0 <= count <= MOST:
                    found[label] += count
    return found
