"""Counts of what a writer did not store, kept where a dead process cannot take them along.

A tally is a small mapped file of fixed slots, each a label and a 64-bit count. Counting writes eight bytes into the
map, which neither `kill -9` nor a full disk undoes. It is made at the first thing to count, so most writers have none.

Labels are JSON lists `[what, reason, name]`: `what` is `"dropped"` (was accepted, had to go) or `"refused"` (was never
accepted). When the slots run out, what comes further is counted under the reason `"other"` and the name `"*"`.

Invariants
- Each count is in one file. After `close` the file belongs to the agent; what is counted later goes to another one.
- A label's slot is its place among the labels, so whoever comes in between (a signal handler) finds the same.
- No file is made under the lock: a call that counts never waits for the disk of another thread.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tallystick.codec import UNREADABLE
from tallystick.errors import SpoolError
from tallystick.forks import inherited, look, no_fork
from tallystick.interruptions import from_outside
from tallystick.spool import disk
from tallystick.spool.folder import new_segment_id
from tallystick.threads import RLock

SLOT_BYTES: Final = 512
SLOTS: Final = 128
LABELS: Final = SLOTS - 8
"""So many labels of their own; the rest is for those of what comes further, and of handlers that come in between."""
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
        self._stored: dict[Label, int] = {}
        """What of them is in files."""
        self._file: _File | None = None
        self.lock = RLock()
        self._making = False

    def add(self, what: str, reason: str, name: str, count: int = 1) -> None:
        look()
        with self.lock:
            label = (what, reason, name[:NAME_CHARACTERS])
            if label not in self.counts and len(self.counts) >= LABELS:
                label = (what, "other", "*")
            self.counts.setdefault(label, 0)
            self.counts[label] += count  # without a call in between, during which a signal handler might count the same
            file = self._file
            if file is not None:
                self._write(file, label)
                return
        self.keep()

    def keep(self, *, now: bool = False) -> None:
        """Write down what only memory holds, when there is room; with `now` also when there was none a moment ago."""
        again = time.monotonic()
        with self.lock:
            if (again < self._next_try and not now) or self.counts == self._stored:
                return
            if self._file is not None or self._making:
                return
            self._making = True
        try:
            file = self._make()
            if file is None:
                self._next_try = again + AGAIN_SECONDS
            else:
                with self.lock:
                    file.before = dict(self._stored)
                    self._file = file
                    for label, count in list(self.counts.items()):
                        if count != self._stored.get(label):
                            self._write(file, label)
        finally:
            self._making = False

    def _write(self, file: _File, label: Label) -> None:
        known = label in file.slots
        if not known:
            file.slots[label] = list(self.counts).index(label)
        at, before = file.slots[label] * SLOT_BYTES, file.before.get(label, 0)
        if file.map is None:
            return
        with contextlib.suppress(ValueError, TypeError):  # a signal handler closed the file, and has written this, too
            _COUNT.pack_into(file.map, at, self.counts[label] - before)
            if not known:
                text = msgspec.json.encode(label)
                file.map[at + _LABEL_AT : at + _LABEL_AT + len(text)] = text
            self._stored[label] = self.counts[label]

    def _make(self) -> _File | None:
        path = self.path.with_name(f"{new_segment_id()}.tally") if self._stored else self.path
        aside = path.with_name(f"{path.name}.new")
        file = _File()
        try:
            with no_fork:
                file.fd = disk.open_own(aside, os.O_RDWR | os.O_CREAT)
            disk.try_lock(file.fd, aside)
            self._with_reserve(lambda: disk.allocate(file.fd, SLOT_BYTES * SLOTS))
            with no_fork:
                file.map = mmap.mmap(file.fd, SLOT_BYTES * SLOTS)
            disk.rename(aside, path)
            file.close_descriptor()  # the map has one of its own, and ends with this object
            return file
        except BaseException as error:
            file.close()
            with contextlib.suppress(OSError):  # its folder was taken away, and something else is there
                disk.remove(aside)
            if not isinstance(error, OSError | SpoolError) or from_outside(error):
                raise
        return None

    def close(self) -> None:
        """Let go of the file; the agent adds it to the pipeline's counts and removes it."""
        self.keep(now=True)
        with self.lock:
            file = self._file
            if file is not None:
                for label in list(self.counts):
                    self._write(file, label)
                self._file = None
                file.close()

    def forget(self) -> None:
        """In a forked child: the counts are the parent's."""
        self.lock = RLock()
        self._file = None


class _File:
    """A tally's file, locked as long as it is open. `before` is what earlier files hold."""

    __slots__ = ("__weakref__", "before", "fd", "map", "slots")

    def __init__(self) -> None:
        self.before: dict[Label, int] = {}
        self.slots: dict[Label, int] = {}
        self.fd = -1
        self.map: mmap.mmap | None = None
        inherited(self)

    def close(self) -> None:
        if self.map is not None:
            with no_fork:
                self.map.close()
        self.close_descriptor()

    def close_descriptor(self) -> None:
        with no_fork:
            fd, self.fd = self.fd, -1
            if fd >= 0:
                os.close(fd)

    forget_parent = close


def read(path: Path) -> Counter[Label]:
    """What a tally file counts. A slot that cannot be read is passed over."""
    found: Counter[Label] = Counter()
    data = disk.read_own(path)
    for at in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
        text = data[at + _LABEL_AT : at + SLOT_BYTES].rstrip(b"\0")
        if text:
            count = _COUNT.unpack_from(data, at)[0]
            with contextlib.suppress(*UNREADABLE):
                label = _labels.decode(text)
                if 0 <= count <= MOST:
                    found[label] += count
    return found
