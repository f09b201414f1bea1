"""The folder that the Parquet backend writes: its names, its lock, its ledger.

    _tallystick.json
    day=2026-11-21/points-<segment>-<first>-<last>.parquet
    day=2026-11-21/documents-<segment>-<first>-<last>.parquet
    day=2026-11-21/points-@<rows>-<number>.parquet               of many deliveries; see `merging.py`

Other readers pass over names that begin with a dot or an underscore.

Why nothing is lost and nothing doubled
- Which file a record belongs to follows from the record alone: its segment, its day, and whether it has an id of the
  caller's own (`documents`). So a record is stored if and only if its place is in the column `place` of a file
  of that day, kind and segment. There is no other ledger that could disagree with the rows.
- All places in a delivery's file are from `first` to `last`, so the names tell which few files must be asked, and
  mostly none. A record that is already there is left out of what is written.
- Asking and writing are one turn under the folder's lock, so two writers never both find a record missing.
- A file is written aside, synced and renamed: it is there whole or not at all. A batch of several days is several
  files; after a crash between two of them, the batch comes again and finds the first days stored.
- A file never gains rows. `prune` may replace it by one of the same name with fewer.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from tallystick.backends._rows import Part
from tallystick.backends.base import Line
from tallystick.errors import Misconfigured, Unavailable
from tallystick.spool import disk

FORMAT: Final = 1
"""The number in `_tallystick.json`. A folder with a larger one is refused."""

MARKER: Final = "_tallystick.json"
LOCK: Final = ".lock"
SUFFIX: Final = ".parquet"
ASIDE: Final = ".new"
_POLL_SECONDS: Final = 0.01


class Stored(NamedTuple):
    """One file: of one delivery, with places from `first` to `last`, or with so many `rows`, merged from several."""

    path: Path
    day: str
    own: bool
    rows: int
    segment: str = ""
    first: int = 0
    last: int = 0


def path_of(root: Path, part: Part, segment: str, first: int, last: int) -> Path:
    kind = "documents" if part.own else "points"
    return root / f"day={part.day}" / f"{kind}-{quote(segment, safe='')}-{first}-{last}{SUFFIX}"


def free_path(root: Path, part: Part, segment: str, first: int, last: int) -> Path:
    """A name that no file has. A file may be wider in name than in rows, after `prune` took the outermost ones."""
    path = path_of(root, part, segment, first, last)
    while path.exists():
        last += 1
        path = path_of(root, part, segment, first, last)
    return path


def days(root: Path) -> list[str]:
    """The days that have a folder, oldest first."""
    try:
        return sorted(entry.name[4:] for entry in os.scandir(root) if entry.name.startswith("day="))
    except FileNotFoundError:
        return []


def merged_path(root: Path, part: Part, rows: int, number: int) -> Path:
    """`number` is one that was never used. No segment has such a name: `@` in one would be quoted."""
    kind = "documents" if part.own else "points"
    return root / f"day={part.day}" / f"{kind}-@{rows}-{number}{SUFFIX}"


def files(root: Path, day: str) -> list[Stored]:
    """The files of a day that we named; other files are let alone."""
    folder = root / f"day={day}"
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [file for name in names if (file := stored(folder / name)) is not None]


def stored(path: Path) -> Stored | None:
    """What the name of a file says; None when it is none of ours."""
    kind, _, rest = path.name.removesuffix(SUFFIX).partition("-")
    if not path.name.endswith(SUFFIX) or kind not in ("points", "documents"):
        return None
    day, own = path.parent.name[4:], kind == "documents"
    match rest.rsplit("-", 2):
        case [rows, number] if rows.startswith("@") and rows[1:].isdecimal() and number.isdecimal():
            return Stored(path, day, own, int(rows[1:]))
        case [segment, first, last] if first.isdecimal() and last.isdecimal():
            return Stored(path, day, own, 0, segment, int(first), int(last))
    return None


def overlapping(root: Path, part: Part, segment: str, first: int, last: int) -> list[Path]:
    """The files in which records between these places may be."""
    named = quote(segment, safe="")
    return [
        file.path
        for file in files(root, part.day)
        if file.own == part.own and file.segment == named and file.first <= last and file.last >= first
    ]


def merged(root: Path, part: Part) -> list[Path]:
    return [file.path for file in files(root, part.day) if file.own == part.own and file.rows]


def make_day(folder: Path) -> None:
    if not folder.exists():
        disk.make_folder(folder)


def remove_if_empty(root: Path, day: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(root / f"day={day}")


def aside(path: Path) -> Path:
    return path.with_name(f".{path.name}{ASIDE}")


def publish(path: Path) -> None:
    """What was written aside takes its place, durably."""
    disk.sync_file(aside(path))
    disk.rename(aside(path), path)
    disk.sync_folder(path.parent)


def clear_aside(root: Path) -> None:
    """Remove what crashes left half-written. Only under the lock: then nobody is writing."""
    for day in days(root):
        folder = root / f"day={day}"
        for name in os.listdir(folder):
            if name.endswith(ASIDE):
                disk.remove(folder / name)


@contextmanager
def locked(root: Path, patience_seconds: float) -> Iterator[None]:
    """The only writer in this folder. Raises `Unavailable` when others do not let go in time."""
    lock = disk.LockFile(root / LOCK)
    deadline = time.monotonic() + patience_seconds
    while not lock.acquire():
        if time.monotonic() > deadline:
            raise Unavailable(f"{root}: other writers held {LOCK} for {patience_seconds:g} s")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def ensure(root: Path, patience_seconds: float) -> list[str]:
    """Create what is missing; says what was done. Raises `Misconfigured` for a folder of a newer version, `Unavailable`
    when other writers do not let go of it in time."""
    found = format_of(root)
    if found is None:
        disk.make_folder(root)
        with locked(root, patience_seconds):  # of several first writers one makes the marker
            found = format_of(root)
            if found is None:
                disk.replace_file(root / MARKER, msgspec.json.encode({"parquet": FORMAT}) + b"\n", durable=True)
                return [f"made {root} a folder of format {FORMAT}"]
    if found > FORMAT:
        raise Misconfigured(f"{root} has format {found}, this version knows up to {FORMAT}; upgrade tallystick")
    return []


def format_of(root: Path) -> int | None:
    """None when the folder is not there, or is none of ours."""
    try:
        data = (root / MARKER).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=dict[str, int])["parquet"]
    except (msgspec.DecodeError, KeyError):
        raise Misconfigured(f"{root / MARKER} is damaged; remove it if all else in the folder is ours") from None


def check(root: Path) -> list[Line]:
    found = format_of(root)
    if found is None:
        return [Line(ok=False, what=f"{root} is no folder of ours", remedy="run `tallystick setup`")]
    if found != FORMAT:
        return [Line(ok=False, what=f"format {found}, this version makes {FORMAT}", remedy="upgrade tallystick here")]
    lines = [Line(ok=True, what=f"format {found} in {root}")]
    places = [root, *(root / f"day={day}" for day in days(root))]
    closed = [place for place in places if not os.access(place, os.R_OK | os.W_OK | os.X_OK)]
    remedy = "give this user the right to write there"
    lines += [Line(ok=False, what=f"{place} may not be written by this user", remedy=remedy) for place in closed]
    return lines
