"""What the doctor looks at in each pipeline: files, books, who delivers, the clock in its records, the database."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from tallystick.agent.chores import DAY_SECONDS
from tallystick.backends.base import Managed
from tallystick.errors import Misconfigured, MissingExtra, SettingsError, SpoolError, TallystickError
from tallystick.masking import hider
from tallystick.pipelines.asking import NothingYet, NotThere, open_to_read
from tallystick.pipelines.checkup.finding import Finding, fail, ok, warn
from tallystick.pipelines.health import LATE_SECONDS, LOST, MOVE_AWAY, Health, health
from tallystick.pipelines.targets import Target, no_folder
from tallystick.settings import Settings
from tallystick.spool import disk
from tallystick.spool.folder import Folder
from tallystick.spool.reader import SegmentReader
from tallystick.spool.repair import STALE_SECONDS
from tallystick.text import in_one_line, number, size, span

FUTURE_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 15.0
NEARLY_FULL: Final = 0.8

SHORT_LIVED: Final = 3
"""From as many processes on that left records and ended, it is how the application works and not an accident."""


def look(target: Target, settings: Settings, max_age_seconds: float, *, offline: bool) -> Iterator[Finding]:
    if why := no_folder(target.folder):
        yield fail(why, "")
        return
    seen = list(files(target.folder))
    yield from seen
    if all(finding.level != "fail" for finding in seen):
        try:
            one = health(target)
        except SpoolError as error:
            yield fail(str(error), "")
        else:
            yield from books(one, settings)
            yield from delivery(one, max_age_seconds)
            yield from clock(one)
    yield from about(target)
    if not offline and not target.unknown:
        yield from database(target)


def files(folder: Folder) -> Iterator[Finding]:
    """Files and folders that nobody can use, that this user cannot, or that the pipeline's owner cannot."""
    for path in folder.files:
        if why := _unusable(path):
            yield fail(f"{path} {why}", MOVE_AWAY)
    if os.path.lexists(folder.segments) and not os.path.isdir(folder.segments):
        yield fail(f"{folder.segments} is no folder", MOVE_AWAY)
    found = {path: _status(path) for path in [folder.path, *folder.path.rglob("*")]}
    there = {path: status for path, status in found.items() if status is not None}
    shut = [path for path in there if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0))]
    if shut:
        remedy = f"run as the user who owns {folder.path}, or change the owner"
        yield fail(f"{number(len(shut))} files are not for this user to use, such as {shut[0]}", remedy)
        return
    owner = there[folder.path].st_uid if folder.path in there else os.geteuid()
    foreign = [path for path, status in there.items() if status.st_uid != owner and not status.st_mode & 0o020]
    if foreign:
        what = f"{number(len(foreign))} files are of another user and for him alone, such as {foreign[0]}"
        yield warn(what, f"chown -R {owner} {folder.path}, and run everything as that user")


def _unusable(path: Path) -> str:
    """Why this cannot be the file that it should be, or become it; empty when it can."""
    try:
        return "" if stat.S_ISREG(path.stat().st_mode) else "is no file"
    except FileNotFoundError:
        return "" if os.path.isdir(os.path.dirname(os.path.realpath(path))) else "is a link to nowhere"
    except OSError as error:
        return "" if isinstance(error, PermissionError) else f"cannot be opened ({error.strerror})"


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # gone meanwhile, or in a folder that is shut
        return None


def books(one: Health, settings: Settings) -> Iterator[Finding]:
    account, folder = one.books, one.target.folder
    if account.imbalance():
        yield fail(f"the books do not balance: {account.line()}", "please report it, with `tallystick status --json`")
    else:
        yield ok(account.line())
    for reason in account.unreadable:
        upgrade = "upgrade tallystick" in reason
        yield fail(reason, "" if upgrade else "move it away, or run as the user who owns it")
    if dead := sum(account.dead.values()):
        yield warn(f"{number(dead)} dead letters", f"see `tallystick dead list --pipeline {folder.name}`")
    for reason, names in account.dropped.items():
        if reason in LOST:
            yield warn(f"{number(sum(names.values()))} records were dropped: {reason}", LOST[reason])
    for reason, names in account.refused.items():
        if reason != "filter":
            shown = ", ".join(name or "without a name" for name in list(names)[:3])
            remedy = f"correct the calls that record {shown}"
            yield warn(f"{number(sum(names.values()))} calls were refused: {reason}", remedy)
    if account.size_bytes > NEARLY_FULL * settings.spool_limit_bytes:
        limit = size(settings.spool_limit_bytes)
        yield warn(
            f"the spool holds {size(account.size_bytes)} of {limit}",
            "have somebody deliver, or raise spool_limit_bytes",
        )
    if not folder.reserve.exists():
        yield warn("the reserve file is missing", "make room on the disk: an agent makes the reserve again")
    left_over = [path for path in folder.segments.glob("*.new") if _age(path.stat().st_mtime) > STALE_SECONDS]
    if left_over:
        yield warn(
            f"{number(len(left_over))} files are left over from processes that died", "run `tallystick spool repair`"
        )


def delivery(one: Health, max_age_seconds: float) -> Iterator[Finding]:
    beat = one.beat
    if beat is not None and beat.action_needed:
        yield fail(f"the database wants a person, and all records are kept meanwhile: {one.error}", "")
    elif beat is not None and beat.last_error:
        when = span(_age(beat.last_failed))
        yield warn(f"the last try failed {when} ago: {one.error}", "nothing is lost: it is tried again for ever")
    if one.delivering and beat is not None and _age(beat.beat) > LATE_SECONDS:
        yield warn(f"{one.who()}", "it may hang in its database; look at that process")
    if stuck := one.stuck(max_age_seconds):
        yield fail(stuck, "see why its database does not answer" if one.delivering else "")
    elif one.pending and not one.delivering:
        waiting = "1 record waits" if one.pending == 1 else f"{number(one.pending)} records wait"
        yield warn(f"{waiting}, and nobody delivers", f"run `{one.target.agent}`")
    elif one.delivering:
        yield ok(f"delivered by {one.who()}")
    if one.pending and not one.delivering and (gone := _writers_gone(one.target.folder)) >= SHORT_LIVED:
        yield warn(
            f"{gone} short-lived processes recorded, and none stays to deliver",
            f"run `{one.target.agent}`, or call `flush()` at the end of each job",
        )


def _writers_gone(folder: Folder) -> int:
    """How many processes that ended have left a segment."""
    gone = set()
    for identity in folder.segment_ids():
        with contextlib.suppress(OSError, TallystickError):
            if not disk.is_locked(folder.segment(identity)):
                reader = SegmentReader(folder.segment(identity))
                gone.add((reader.codec.header.host, reader.codec.header.pid))
                reader.close()
    return len(gone)


def clock(one: Health) -> Iterator[Finding]:
    """Times in the spool that are still to come: somebody's clock is, or was, wrong."""
    now, folder = time.time(), one.target.folder
    if one.beat is not None and one.beat.beat > now + FUTURE_SECONDS:
        ahead = span(one.beat.beat - now)
        yield warn(
            f"the agent's last sign is {ahead} in the future: a clock was set back", "let clocks follow a time server"
        )
    if one.beat is not None and 0 < now - one.beat.doubted < DAY_SECONDS:
        what = f"the clock leapt ahead by more than a day {span(now - one.beat.doubted)} ago"
        yield warn(f"{what}: retention forgets nothing for a day", "see that the clock is right")
    if one.books.since > now + FUTURE_SECONDS:
        what = f"counting began {span(one.books.since - now)} in the future: a clock was set back"
        yield warn(what, "let clocks follow a time server; nothing is lost by it")
    for identity in folder.segment_ids():
        made = _made(identity)
        if made > now + FUTURE_SECONDS:
            ahead = span(made - now)
            yield warn(
                f"segment {identity} was begun {ahead} in the future: a clock was set back",
                "let clocks follow a time server; the records are delivered all the same",
            )
        elif (first := _first_record(folder, identity)) > now + FUTURE_SECONDS:
            ahead = span(first - now)
            yield warn(f"records in {identity} are from {ahead} in the future", "correct the clock, or `timestamp=`")


def _made(identity: str) -> float:
    try:
        return int(identity[:12], 16) / 1000
    except ValueError:
        return 0.0


def _first_record(folder: Folder, identity: str) -> float:
    """The time of a segment's first record, in epoch seconds; 0 when there is none to be read."""
    try:
        reader = SegmentReader(folder.segment(identity))
    except (OSError, TallystickError):
        return 0.0
    try:
        records = reader.codec.batch(reader.lines(1), reader.position)[0].records
        return records[0].timestamp_ns / 1e9 if records else 0.0
    finally:
        reader.close()


def about(target: Target) -> Iterator[Finding]:
    said = target.folder.description().get("backend")
    if target.unknown:
        yield warn(f"its target is not known here: {target.unknown}", "its application must run for it to be delivered")
    elif said and said != target.address:
        remedy = "give both the same settings, or `tallystick agent` delivers where the application does not look"
        yield warn(f"the settings say {target.address}, the application that recorded last said {said}", remedy)


def database(target: Target) -> Iterator[Finding]:
    """Whether it answers. In a thread of its own, since a hung server may take longer than anybody waits."""
    answer: SimpleQueue[list[Finding]] = SimpleQueue()
    threading.Thread(target=lambda: answer.put(list(_asked(target))), daemon=True).start()
    try:
        yield from answer.get(timeout=ANSWER_SECONDS)
    except Empty:
        yield fail(
            f"{target.address} did not answer in {ANSWER_SECONDS:.0f} s", "see whether it runs, and the way to it"
        )


def _asked(target: Target) -> Iterator[Finding]:
    hide = hider(target.url)
    try:
        backend = open_to_read(target)
    except (NothingYet, NotThere):
        yield ok(f"{target.address} is made at the first delivery")
        return
    except (Misconfigured, MissingExtra, SettingsError) as error:
        yield fail(_of(target, hide(in_one_line(str(error), target.setup))), "")
        return
    except Exception as error:  # whatever a driver raises: it does not answer
        why = str(error) if isinstance(error, TallystickError) else f"{type(error).__name__}: {error}"
        yield fail(_of(target, hide(why)), "see whether it runs")
        return
    try:
        lines = backend.check() if isinstance(backend, Managed) else []
        for line in lines:
            if not line.ok:
                yield fail(_of(target, line.what), line.remedy or "see `tallystick check`")
        if all(line.ok for line in lines):
            yield ok(f"{target.address} answers")
    except Exception as error:
        why = str(error) if isinstance(error, TallystickError) else f"{type(error).__name__}: {error}"
        yield fail(_of(target, hide(in_one_line(why, target.setup))), "see `tallystick check`")
    finally:
        backend.close()


def _of(target: Target, what: str) -> str:
    """What was found, and once where: the backends' own errors say it themselves."""
    return what if target.address in what else f"{target.address}: {what}"


def _age(moment: float) -> float:
    return max(0.0, time.time() - moment)
