"""Where a pipeline keeps its things. Every path of the spool is named here.

<home>/<pipeline>/
    pipeline.json       where the records go (no secrets), for people and for `tallystick agent`      pipeline.lock
    segments/           <id>.jsonl  records     <id>.tally  what a writer refused or dropped
                        <id>.dropped  what was dropped to make room
    positions.json      how far delivery has come (a hint), and the counts
    dead.jsonl          dead letters and what became of them        dead.lock   guards it
    agent.lock          whoever holds it delivers      process.lock   held by a `tallystick agent`
    takeover.lock       guards the removal of either, when its holder does not move
    delivering.json     what is being delivered from segments with a living writer      delivering.lock   guards it
    agent.json          the one who delivers: heartbeat and last error      attempt   what it is delivering
    reserve             room that is freed when the disk is full
    records.db          the SQLite file, when no other backend is named
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from tallystick.errors import SettingsError, SpoolError
from tallystick.places import known_home
from tallystick.spool import disk

RESERVE_BYTES: Final = 1 << 20
RESERVE_PARTS: Final = 8
LEFTOVER_SECONDS: Final = 60.0
"""A file that is still not in its place so long after it was begun, and that nobody holds, was given up by a crash."""


class Folder:
    """The folder of one pipeline; `open` makes what is missing.

    Raises `SettingsError` for a pipeline name that is no plain file name.
    """

    def __init__(self, home: Path | str, pipeline: str = "default") -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", pipeline):
            raise SettingsError(
                f"pipeline: {pipeline!r} must be 1 to 100 letters, digits or any of '_-.', and start with no '.' or '-'"
            )
        self.home = known_home(home)
        self.name = pipeline
        self.path = self.home / pipeline
        self.segments = self.path / "segments"
        self.positions = self.path / "positions.json"
        self.dead = self.path / "dead.jsonl"
        self.dead_lock = self.path / "dead.lock"
        self.agent_lock = self.path / "agent.lock"
        self.process_lock = self.path / "process.lock"
        self.takeover_lock = self.path / "takeover.lock"
        self.delivering = self.path / "delivering.json"
        self.delivering_lock = self.path / "delivering.lock"
        self.agent = self.path / "agent.json"
        self.attempt = self.path / "attempt"
        self.reserve = self.path / "reserve"
        self.about = self.path / "pipeline.json"
        self.about_lock = self.path / "pipeline.lock"
        self.database = self.path / "records.db"
        self._description = b""

    @property
    def files(self) -> list[Path]:
        """Those that the pipeline has besides its segments and its database, there or not."""
        of_the_agent = [
            self.agent_lock,
            self.process_lock,
            self.takeover_lock,
            self.agent,
            self.attempt,
            self.positions,
        ]
        of_all = [
            self.dead,
            self.dead_lock,
            self.delivering,
            self.delivering_lock,
            self.reserve,
            self.about,
            self.about_lock,
        ]
        return of_the_agent + of_all

    def open(self) -> Folder:
        disk.make_folder(self.segments)
        if self._description and not self.about.exists():  # it was taken away meanwhile
            self._write_description()
        return self

    def __repr__(self) -> str:
        return f"Folder({str(self.path)!r})"

    # --- what the pipeline is ---

    def describe(self, **facts: Any) -> None:
        """Say in `pipeline.json` where this pipeline's records go; written only when it changed."""
        self._description = msgspec.json.format(msgspec.json.encode({"tallystick": 1, **facts}), indent=2) + b"\n"
        self._write_description()

    def _write_description(self) -> None:
        with contextlib.suppress(OSError):
            if not self.about.exists() or disk.read_own(self.about) != self._description:
                disk.replace_file(self.about, self._description)

    def description(self) -> dict[str, Any]:
        try:
            text = disk.read_own(self.about)
            found = msgspec.json.decode(text)
        except (OSError, msgspec.MsgspecError):
            return {}
        if not isinstance(found, dict):
            return {}
        self._description = text
        return found

    # --- segments ---

    def segment(self, identity: str) -> Path:
        return self.segments / f"{identity}.jsonl"

    def tally(self, identity: str) -> Path:
        return self.segments / f"{identity}.tally"

    def dropped(self, identity: str) -> Path:
        return self.segments / f"{identity}.dropped"

    def segment_ids(self) -> list[str]:
        """The segments that hold records to deliver, oldest first."""
        return self._ids(".jsonl")

    def tally_ids(self) -> list[str]:
        return self._ids(".tally")

    def dropped_ids(self) -> list[str]:
        return self._ids(".dropped")

    def _ids(self, ending: str) -> list[str]:
        try:
            names = os.listdir(self.segments)
        except FileNotFoundError:
            return []
        return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))

    def size_bytes(self) -> int:
        """What the spool takes on the disk: segments, their preallocated room included, and the writers' tallies."""
        return sum(self.sizes().values())

    def sizes(self) -> dict[str, int]:
        """The size in bytes of each file among the segments, by name."""
        found = {}
        for entry in _entries(self.segments):
            with contextlib.suppress(FileNotFoundError):
                found[entry.name] = entry.stat(follow_symlinks=False).st_size
        return found

    def sweep(self) -> None:
        """Remove what writers began aside and never put in its place."""
        for path in self.segments.glob("*.new"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS and not disk.is_locked(path):
                    disk.remove(path)

    # --- the reserve ---

    def keep_reserve(self) -> bool:
        """Have the whole reserve; False when the disk has no room for it. One that cannot be for another reason (a
        folder has its name, no descriptor is left) is done without: it says nothing of the disk's room.
        """
        try:
            if self.reserve.exists() and self.reserve.stat().st_size >= RESERVE_BYTES:
                return True
            fd = disk.open_own(self.reserve, os.O_WRONLY | os.O_CREAT)
            before = os.fstat(fd).st_size
            try:
                disk.allocate(fd, RESERVE_BYTES)
            except OSError:
                os.ftruncate(fd, before)
                if not before:
                    disk.remove(self.reserve)
                raise
            finally:
                os.close(fd)
        except OSError as error:
            return error.errno not in disk.NO_ROOM
        return True

    def free_reserve(self, error: OSError) -> bool:
        """After a "no space left": True when a part of the reserve was there and is now free, so that one more try
        makes sense. A part at a time, since who else writes to the disk may be quicker than we are.
        """
        if error.errno not in disk.NO_ROOM:
            return False
        try:
            left = self.reserve.stat().st_size - RESERVE_BYTES // RESERVE_PARTS
            if left > 0:
                os.truncate(self.reserve, left)
            else:
                disk.remove(self.reserve)
            return True
        except OSError:
            return False

    def with_reserve(self, write: Callable[[], None]) -> None:
        """Do this, on a full disk with the help of the reserve. Raises `OSError` when even that is not enough."""
        while True:
            try:
                return write()
            except OSError as error:
                if not self.free_reserve(error):
                    raise


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return []
        raise


def pipelines(home: Path | str) -> list[Folder]:
    """Every pipeline in the home, by name. Raises `SpoolError` for a home that is none and cannot become one."""
    path = known_home(home)
    try:
        entries = _entries(path)
    except OSError as error:
        raise SpoolError(f"cannot read the home {path}: {error.strerror}; {disk.HOME_REMEDY}") from error
    if not entries and not os.path.exists(path):
        above = next(folder for folder in path.absolute().parents if os.path.exists(folder))
        if not os.access(above, os.W_OK | os.X_OK) or not _holds_files(above):
            raise SpoolError(f"there is no home {path}, and this user may not make it in {above}; {disk.HOME_REMEDY}")
    return [
        Folder(home, entry.name)
        for entry in sorted(entries, key=lambda e: e.name)
        if any(os.path.lexists(os.path.join(entry.path, name)) for name in ("segments", "pipeline.json"))
    ]


def _holds_files(path: Path) -> bool:
    """Whether its file system has room of any kind; /proc and /sys have none, though root may write to them."""
    found = os.statvfs(path)
    return bool(found.f_blocks or found.f_files)


_latest = [0]


def new_segment_id() -> str:
    """24 hexadecimal digits: milliseconds since the epoch (12), then chance (12).

    Sorted by name is sorted by age: those of one process also within a millisecond, and when its clock is put back.
    """
    _latest[0] = max(time.time_ns() // 1_000_000, _latest[0] + 1)
    return f"{_latest[0]:012x}{os.urandom(6).hex()}"
