# ruff: noqa: S608  (only names of ours are pasted into SQL here)
"""Small Parquet files of a day become larger ones, so that a question opens few.

A merge puts one file X with the same rows in the place of files A, B, C, in steps that are each durable:

1. X is written aside.
2. The journal says that X replaces A, B and C.
3. X gets its name.
4. A, B and C are removed.
5. The journal says that X replaces nothing.

What it keeps
- Merges happen under the folder's lock, and who takes the lock next first finishes what a crash left (`finish`). X is
  whole before the journal names it, and A, B and C go only after X is there, so a merge that is in the journal can
  always be finished; one that is not has changed nothing.
- Our readers take no lock. They read the journal, list the files, and read the journal again until it is the same
  (`visible`). Each X has a name that never comes again, so then no merge began meanwhile, and of the one that the
  journal names they take X if it is there after the listing. If it is not, none of A, B and C was gone while they
  listed. A file that is gone when it is to be opened makes the question list anew.
- The journal forgets A, B and C in step 5, since their names may come again: for what was pruned and delivered anew.
- What is in the files stays the ledger. Names of merged files do not tell which places they hold, so `Contents` reads
  it from each file once; a file never gains rows.
- Files are merged with those of about their own size, `FAN` of them or as many as make a large one, and large ones are
  let alone. So a row is written anew once or twice, in small deliveries up to four times, and a day has some dozens of
  small files, never more than about a hundred of each kind.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import msgspec

from tallystick.backends._rows import Part
from tallystick.backends.parquet import folder as folders
from tallystick.backends.parquet.connection import Engine
from tallystick.backends.parquet.folder import Stored
from tallystick.backends.parquet.query import patterns, read_parquet
from tallystick.errors import Misconfigured
from tallystick.spool import disk

FAN: Final = 32
"""So many files of a size are merged into one."""

LARGE_ROWS: Final = 100_000
"""With so many rows a file is merged no more: to open it costs little beside reading it. It limits a merge's memory."""

JOURNAL: Final = "_merged.json"
_ASIDE: Final = ".merged.new"
_KNOWN: Final = 1_000


class Journal(msgspec.Struct, frozen=True):
    """The last merge: the file that it made and those that are being replaced, as paths in the folder."""

    made: str
    replaces: list[str]


def ripe(found: list[Stored]) -> list[Stored]:
    """Files of one day, kind and size that are to be merged now; none when there are too few."""
    sizes: dict[tuple[bool, int], list[Stored]] = defaultdict(list)
    for file in found:
        if file.rows < LARGE_ROWS:
            sizes[file.own, int(math.log(file.rows, FAN)) if file.rows else -1].append(file)
    for alike in sizes.values():
        if len(alike) >= FAN or sum(file.rows for file in alike) >= LARGE_ROWS:
            return _enough(alike)
    return []


def scattered(found: list[Stored]) -> list[Stored]:
    """Small files of one day and kind, when there are two or more: for a day that has been."""
    for own in (False, True):
        small = sorted(
            (file for file in found if file.own is own and file.rows < LARGE_ROWS), key=lambda file: file.rows
        )
        if len(small) > 1:
            return _enough(small)
    return []


def _enough(found: list[Stored]) -> list[Stored]:
    """As many as make a large file."""
    rows = list(accumulate(file.rows for file in found))
    return found[: min(FAN, bisect_left(rows, LARGE_ROWS) + 1)]


def merge(root: Path, engine: Engine, cursor: Any, found: list[Stored]) -> None:
    """Put one file in the place of these, which are of one day and kind. Only under the lock, after `finish`."""
    part = Part(found[0].day, found[0].own)
    source = f"{read_parquet()} ORDER BY name, timestamp_ns, segment, place"  # questions ask for a few names
    try:
        rows = engine.copy(cursor, source, [patterns([file.path for file in found])], root / _ASIDE)
        disk.sync_file(root / _ASIDE)
        made = folders.merged_path(root, part, rows, time.time_ns())
        names = [str(path.relative_to(root)) for path in (made, *(file.path for file in found))]
        _note(root, Journal(names[0], names[1:]))
    except BaseException:
        disk.remove(root / _ASIDE)  # whether the journal names it or not, the files to replace are all there
        raise
    finish(root)


def finish(root: Path) -> None:
    """Steps 3 to 5 of a merge that the journal names. Only under the lock."""
    journal = _decoded(root, _read(root))
    if not journal.replaces:
        return
    made = root / journal.made
    if not made.exists() and (root / _ASIDE).exists():
        disk.rename(root / _ASIDE, made)
        disk.sync_folder(made.parent)
    if made.exists():  # if not, what was written aside did not last, and nothing was removed
        for name in journal.replaces:
            disk.remove(root / name)
        disk.sync_folder(made.parent)
    _note(root, Journal(journal.made, []))


def unfinished(root: Path) -> bool:
    return bool(_decoded(root, _read(root)).replaces)


def visible(root: Path, start: str = "") -> list[Stored]:
    """The files in which each record is once, of the days from `start` on. Needs no lock."""
    raw = _read(root)
    while True:
        journal = _decoded(root, raw)
        found = [file for day in folders.days(root) if day >= start for file in folders.files(root, day)]
        made = folders.stored(root / journal.made) if journal.replaces else None
        there = made is not None and made.path.exists()
        before, raw = raw, _read(root)
        if raw == before:
            break
    if made is not None and there:
        replaced = {root / name for name in (journal.made, *journal.replaces)}
        found = [file for file in found if file.path not in replaced] + ([made] if made.day >= start else [])
    return sorted(found)


class Contents:
    """Which places of which segments the merged files hold."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, tuple[int, int]]] = {}

    def overlapping(self, cursor: Any, merged: list[Path], segment: str, first: int, last: int) -> list[Path]:
        """The merged files in which records of a segment between these places may be."""
        if len(self._known) > _KNOWN:
            self._known.clear()  # of days long past
        near = []
        for path in merged:
            if path not in self._known:
                sql = f"SELECT segment, min(place), max(place) FROM {read_parquet()} GROUP BY segment"
                rows = cursor.execute(sql, [patterns([path])]).fetchall()
                self._known[path] = {name: (low, high) for name, low, high in rows}
            low, high = self._known[path].get(segment, (last + 1, last))
            if low <= last and high >= first:
                near.append(path)
        return near


def _read(root: Path) -> bytes:
    try:
        return (root / JOURNAL).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def _decoded(root: Path, raw: bytes) -> Journal:
    if not raw:
        return Journal("", [])
    try:
        return msgspec.json.decode(raw, type=Journal)
    except msgspec.DecodeError as error:
        remedy = "remove it, and of equal records in several files all but one"
        raise Misconfigured(f"{root / JOURNAL} is damaged ({error}); {remedy}") from None


def _note(root: Path, journal: Journal) -> None:
    disk.replace_file(root / JOURNAL, msgspec.json.encode(journal) + b"\n", durable=True)
