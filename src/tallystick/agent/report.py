"""What the agent says of itself, in `agent.json`: for `tallystick status`, `doctor` and whoever watches.

Its own metrics carry the names under which `self_metrics = true` records them, `tallystick_agent_<noun>_<unit>_total`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from tallystick.errors import Misconfigured, MissingExtra, SettingsError
from tallystick.masking import hider
from tallystick.spool import disk
from tallystick.spool.folder import Folder

WRITE_SECONDS = 1.0


_told: set[str] = set()
"""The scripts that this process has logged."""


class Heartbeat(msgspec.Struct):
    """Times in epoch seconds; 0 is never. `last_error` is empty once a write has gone through again. `doubted` is when
    the clock was seen to leap ahead: see `chores.Retention`.
    """

    host: str = ""
    pid: int = 0
    mode: Literal["thread", "process"] = "thread"
    target: str = ""
    since: float = 0.0
    beat: float = 0.0
    last_delivered: float = 0.0
    last_failed: float = 0.0
    last_error: str = ""
    action_needed: bool = False
    doubted: float = 0.0
    totals: dict[str, float] = {}


class Report:
    """Collects what happens and writes it down at most once a second.

    `hide` masks secrets in what a backend says; whoever passes such a text on, in a log or a dead letter, asks it.
    """

    def __init__(
        self,
        folder: Folder,
        target: str,
        mode: Literal["thread", "process"],
        hide: Callable[[str], str] | None = None,
    ) -> None:
        self._folder = folder
        self.hide = hide or hider()
        self._written = 0.0
        names = ("delivered_records", "rejected_records", "written_batches", "failed_writes", "write_seconds")
        totals = {f"tallystick_agent_{name}_total": 0.0 for name in names}
        self.heartbeat = Heartbeat(socket.gethostname(), os.getpid(), mode, target, time.time(), totals=totals)
        self.before = read(folder)
        """What the last agent said."""

    def _add(self, name: str, amount: float) -> None:
        self.heartbeat.totals[f"tallystick_agent_{name}_total"] += amount

    def wrote(self, records: int, seconds: float) -> None:
        self._add("delivered_records", records)
        self._add("written_batches", 1)
        self._add("write_seconds", seconds)
        if records:
            self.heartbeat.last_delivered = time.time()
            self.heartbeat.last_error, self.heartbeat.action_needed = "", False

    def rejected(self, records: int) -> None:
        self._add("rejected_records", records)

    def failed(self, error: BaseException) -> None:
        self._add("failed_writes", 1)
        self.heartbeat.last_failed = time.time()
        self.heartbeat.last_error = self.hide(f"{type(error).__name__}: {error}")
        self.heartbeat.action_needed = isinstance(error, (Misconfigured, MissingExtra, SettingsError))
        self.write(at_once=True)

    def told(self, error: BaseException, *, loud: bool) -> tuple[str, str]:
        """What a backend says, masked, and the script to log behind it, when that is the remedy. It is long and the
        same at every try: a process logs it once, where it is `loud`.
        """
        sentence, _, script = self.hide(str(error)).partition(":\n")
        if not script:
            return self.hide(str(error)), ""
        if not loud or script in _told:
            return f"{sentence}: the script that is logged once", ""
        _told.add(script)
        return f"{sentence}: the script below", f":\n{script}"

    def write(self, *, at_once: bool = False) -> None:
        now = time.time()
        if at_once or now - self._written >= WRITE_SECONDS:
            self._written = self.heartbeat.beat = now
            with contextlib.suppress(OSError):
                disk.replace_file(self._folder.agent, msgspec.json.encode(self.heartbeat))


def read(folder: Folder) -> Heartbeat | None:
    """The last heartbeat, of an agent that may be gone (see `election.somebody_delivers`); None when there never
    was one.
    """
    try:
        return msgspec.json.decode(disk.read_own(folder.agent), type=Heartbeat)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
