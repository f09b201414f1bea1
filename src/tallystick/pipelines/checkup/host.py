"""What the doctor looks at on this host: Python, SQLite, the settings, the home and the disk under it."""

from __future__ import annotations

import mmap
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tallystick.backends.sqlite.backend import OLDEST_SQLITE
from tallystick.errors import SpoolUnsupported
from tallystick.pipelines.checkup.finding import Finding, fail, ok, warn
from tallystick.settings import Settings, unknown_environment
from tallystick.spool import disk
from tallystick.text import size, span

EARLIEST: Final = 1_700_000_000.0
"""This code is younger, so a clock before it is wrong."""

CLOCK_SECONDS: Final = 5.0


def look(settings: Settings) -> Iterator[Finding]:
    yield from versions()
    for sentence in unknown_environment():
        yield warn(sentence, "correct or unset it; `tallystick config show` lists the settings")
    home = settings.home
    seen = list(folder(home))
    yield from seen
    if any(finding.level == "fail" for finding in seen):
        return
    if home.is_dir():
        try:
            yield from powers(home)
            yield from clock(home)
        except OSError as error:
            if error.errno not in disk.NO_ROOM:  # of a full disk there is more to say below
                yield fail(f"home {home} takes no file: {error.strerror}", disk.HOME_REMEDY)
    yield from room(_existing(home), settings.spool_limit_bytes)


def versions() -> Iterator[Finding]:
    oldest = ".".join(map(str, OLDEST_SQLITE))
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        yield fail(f"SQLite {sqlite3.sqlite_version} is older than {oldest}", "use a Python that brings a newer SQLite")
    else:
        yield ok(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {sys.platform}")


def folder(home: Path) -> Iterator[Finding]:
    """Whether this user may work in the home."""
    if not os.path.exists(home):
        above = _existing(home)
        try:
            with tempfile.TemporaryDirectory(dir=above, prefix=".doctor-"):
                yield ok(f"home {home} is made at the first record")
        except OSError as error:
            yield fail(f"home {home} cannot be made in {above}: {error.strerror}", disk.HOME_REMEDY)
    elif not home.is_dir():
        yield fail(f"home {home} is no folder", disk.HOME_REMEDY)
    elif not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield fail(f"home {home} is not for this user to write", f"change its owner, or {disk.HOME_REMEDY}")
    else:
        yield ok(f"home {home} is for this user to write")


def powers(home: Path) -> Iterator[Finding]:
    """Whether the file system does what a spool needs: locks that exclude, blocks in advance, shared mappings."""
    with tempfile.NamedTemporaryFile(dir=home, prefix=".doctor-") as file:
        path = Path(file.name)
        try:
            works = disk.try_lock(file.fileno(), path) and disk.is_locked(path)
        except SpoolUnsupported as error:
            yield fail(str(error), "put the home on a local disk")
            return
        if not works:
            yield fail(f"locks in {home} do not exclude each other", "put the home on a local disk")
            return
        try:
            disk.allocate(file.fileno(), mmap.PAGESIZE)
            with mmap.mmap(file.fileno(), mmap.PAGESIZE) as mapped:
                mapped.write(b"tallystick")
            if os.pread(file.fileno(), 10, 0) != b"tallystick":
                raise OSError("what is written to the mapping does not show in the file")
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in disk.NO_ROOM:
                raise
            yield warn(f"{home} cannot be mapped ({error}): recording is slower there", "put the home on a local disk")
        else:
            yield ok("locks and mapped files work there")


def clock(home: Path) -> Iterator[Finding]:
    """This clock against reason, and against the file system's."""
    now = time.time()
    with tempfile.NamedTemporaryFile(dir=home, prefix=".doctor-") as file:
        apart = os.fstat(file.fileno()).st_mtime - now
    if now < EARLIEST:
        yield fail(f"the clock says {time.ctime(now)}", "set it: records carry its time")
    elif abs(apart) > CLOCK_SECONDS:
        yield warn(f"the file system's clock is {span(abs(apart))} apart from ours", "let both follow a time server")


def room(home: Path, limit_bytes: int) -> Iterator[Finding]:
    """Whether the disk can hold a full spool."""
    try:
        free = shutil.disk_usage(home).free
    except OSError as error:
        yield warn(f"{home}: {error.strerror}", "make it readable for this user")
        return
    if free < 64 << 20:
        yield fail(f"{size(free)} free on the disk of {home}", "make room: what finds none is dropped, and counted")
    elif free < limit_bytes:
        remedy = "make room, or set spool_limit_bytes lower; what finds no room is dropped, and counted"
        yield warn(f"{size(free)} free on the disk of {home}, less than a full spool of {size(limit_bytes)}", remedy)
    else:
        yield ok(f"{size(free)} free on the disk of {home}")


def _existing(path: Path) -> Path:
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path
