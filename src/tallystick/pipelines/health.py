"""What is known of a pipeline's health, and what of it is a finding: for `status`, `status --check` and `doctor`.

A pipeline has stopped moving when its oldest pending record is older than `max_age_seconds` and nothing was delivered
for as long. When a record was delivered last is known from the heartbeat of the agent that works now, or worked last.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from tallystick.agent import report
from tallystick.agent.election import somebody_delivers
from tallystick.agent.report import Heartbeat
from tallystick.errors import SpoolError
from tallystick.pipelines.targets import Target, no_folder
from tallystick.spool.account import Account, account
from tallystick.text import in_one_line, moment, number, span

LATE_SECONDS: Final = 15.0
"""An agent beats about once a second; one that has not for so long hangs in its backend, or its host was asleep."""

LONG_SECONDS: Final = 60.0
"""What keeps an agent from delivering mostly passes; after so long it is for a person to see to."""

LOST: Final = {
    "spool_limit": "have somebody deliver, or raise spool_limit_bytes",
    "disk_full": "make room on the disk: recording goes on by itself as soon as there is some",
    "drop_old": "have somebody deliver, or raise spool_limit_bytes",
    "dead_limit": "retry or drop dead letters, or raise dead_limit_bytes",
    "spool_error": (
        "see that its user may write to the pipeline's folder, that the folder is there, and that the application may"
        " open more files (`ulimit -n`)"
    ),
    "other": "see the other reasons: more names were dropped or refused than are told apart",
    "closed": "let the application record before it calls `close()`, or make a new Metrics afterwards",
}
"""Why records are dropped that nobody gave up, and the remedy for each."""

MOVE_AWAY: Final = "move it away; what belongs there is made when it is needed"

LOOKS: Final = 3
LOOK_AGAIN_SECONDS: Final = 0.4


class Health(msgspec.Struct, frozen=True):
    """A pipeline at one moment. `beat` is of who delivers now, or did last; `delivering` says which of the two."""

    target: Target
    books: Account
    beat: Heartbeat | None
    delivering: bool

    @property
    def pending(self) -> int:
        return sum(self.books.pending.values())

    @property
    def error(self) -> str:
        """Why the last try failed, in one line; empty once one went well."""
        return in_one_line(self.beat.last_error, self.target.setup) if self.beat is not None else ""

    def who(self) -> str:
        """Who delivers, in words."""
        beat = self.beat
        if not self.delivering:
            return "nobody at the moment" if beat is None else f"nobody at the moment; the last was {_agent(beat)}"
        if beat is None:
            return "an agent that has only just begun"
        late = time.time() - beat.beat
        silent = f"; silent for {span(late)}" if late > LATE_SECONDS else "; its clock was ahead" if late < -1 else ""
        return f"{_agent(beat)}, for {span(max(0.0, time.time() - beat.since))}{silent}"

    def stuck(self, max_age_seconds: float) -> str:
        """Why this pipeline does not move although its spool is not empty; empty when it does."""
        age = self.books.oldest_pending_seconds
        if not self.pending or age <= max_age_seconds:
            return ""
        last = self.beat.last_delivered if self.beat else 0.0
        idle = time.time() - last  # below zero the clock was ahead when it was written: no age
        if 0 <= idle <= max_age_seconds:
            return ""
        since = (
            "yet" if not last else f"for {span(idle)}" if idle >= 0 else f"since {moment(last)}, which is yet to come"
        )
        why = [] if self.delivering else [f"nobody delivers; run `{self.target.agent}`"]
        why += [self.error] if self.error else []
        waiting = f"{number(self.pending)} pending, the oldest for {span(age)}, and nothing delivered {since}"
        return ": ".join([waiting, *why])

    def findings(self, max_age_seconds: float) -> list[str]:
        """What `status --check` complains of."""
        found = [stuck] if (stuck := self.stuck(max_age_seconds)) else []
        if wrong := self.books.imbalance():
            names = [f"{name or 'damaged lines'} {difference:+,}" for name, difference in wrong.items()]
            found.append(f"the books do not balance ({', '.join(names[:5])}): {self.books.line()}")
        return found + [f"unreadable here: {reason}" for reason in self.books.unreadable]

    def lost(self) -> str:
        """How many records found no room, ever since counting began; empty when none."""
        lost = {reason: sum(names.values()) for reason, names in self.books.dropped.items() if reason in LOST}
        reasons = ", ".join(f"{reason} {number(count)}" for reason, count in lost.items())
        return f"{number(sum(lost.values()))} dropped since {moment(self.books.since)[:10]}: {reasons}" if lost else ""

    def act(self) -> str:
        """What a person must do, when only a person can."""
        if self.beat is not None and self.beat.action_needed:
            return self.error
        if not self.pending:
            return ""
        if self.delivering:
            long = self.error and self.stuck(LONG_SECONDS)
            return f"see to what keeps it from delivering: {self.error}" if long else ""
        trouble = f"see to what the last try failed on ({self.error}); then " if self.error else ""
        if self.target.unknown:
            return f"{trouble}start its application again: {self.target.unknown}"
        return f"{trouble}run `{self.target.agent}`, or its application"


def _agent(beat: Heartbeat) -> str:
    kind = "a thread of the application" if beat.mode == "thread" else "tallystick agent"
    return f"{kind}, pid {beat.pid} on {beat.host}"


def health(target: Target) -> Health:
    """As of now. Raises `SpoolError`, with path and remedy, for a pipeline whose files cannot be read."""
    if why := no_folder(target.folder):
        raise SpoolError(why)
    try:
        return Health(target, _books(target), report.read(target.folder), somebody_delivers(target.folder))
    except SpoolError:
        raise
    except OSError as error:
        remedy = "run as the user who owns it" if isinstance(error, PermissionError) else MOVE_AWAY
        raise SpoolError(f"{error.filename or target.folder.path}: {error.strerror}; {remedy}") from error


def _books(target: Target) -> Account:
    """Those that do not balance are looked at again, since a busy agent changes them meanwhile."""
    books = account(target.folder)
    for _ in range(LOOKS - 1):
        if not books.imbalance():
            break
        time.sleep(LOOK_AGAIN_SECONDS)
        books = account(target.folder)
    return books
