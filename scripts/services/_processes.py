"""The processes of a server that was started earlier, found again without guessing.

A server is started as the leader of a session of its own, and a file remembers the leader's pid with its start time and
the boot that both belong to. The kernel gives nobody a pid that is still the id of a session, so as long as the leader
is our own (same start time) or gone, every process of that session is ours. When a stranger has the pid, ours ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOBODY = 65534


@dataclass(frozen=True)
class Process:
    pid: int
    started: int  # clock ticks since the boot
    parent: int
    session: int
    zombie: bool


def process(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the command's name, in parentheses, may hold anything
    return Process(pid, int(fields[19]), parent=int(fields[1]), session=int(fields[3]), zombie=fields[0] == "Z")


def processes() -> list[Process]:
    found = [process(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [one for one in found if one and not one.zombie]


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Session:
    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, command: list[str], log: Path, **options: Any) -> subprocess.Popen[bytes]:
        with open(log, "ab") as output:
            leader = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        found = process(leader.pid)
        self.path.write_text(json.dumps({"pid": leader.pid, "started": found.started if found else 0, "boot": boot()}))
        return leader

    def members(self) -> list[Process]:
        """The living processes of the session, the oldest first."""
        try:
            known = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return []
        if known["boot"] != boot():
            return []
        leader = process(known["pid"])
        if leader and leader.started != known["started"]:
            return []
        ours = [one for one in processes() if one.session == known["pid"]]
        return sorted(ours, key=lambda one: (one.started, one.pid))

    def family(self) -> list[Process]:
        """The members and whatever they started, also in sessions of their own (as PostgreSQL does)."""
        family = self.members()
        everyone = processes()
        for one in family:  # which grows meanwhile
            family += [child for child in everyone if child.parent == one.pid and child not in family]
        return family

    def stop(self, signal_number: int, timeout_seconds: float) -> None:
        """Ask the oldest process, which ends its children; kill whatever is left after the timeout."""
        for oldest in self.members()[:1]:
            os.kill(oldest.pid, signal_number)
        deadline = time.monotonic() + timeout_seconds
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """kill -9 of the whole family; returns when the last of them is gone."""
        family: set[Process] = set()
        while left := self.living(family := family.union(self.family())):
            for one in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
            time.sleep(0.02)
        self.path.unlink(missing_ok=True)

    @staticmethod
    def living(family: set[Process]) -> list[Process]:
        """Those that still run; orphans get other parents."""
        now = {(one.pid, one.started) for one in processes()}
        return [one for one in family if (one.pid, one.started) in now]


def without_root() -> list[str]:
    """The prefix of a command that refuses to run as root: it runs as nobody, who can use our files.

    In a user namespace root's files are nobody's. Where namespaces are forbidden, nobody gets one capability instead.
    """
    if os.geteuid() != 0:
        return []
    namespace = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"]
    capability = [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--securebits=+no_setuid_fixup"),
        *("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--"),
    ]
    for prefix in (namespace, capability):
        if shutil.which(prefix[0]):
            tried = subprocess.run([*prefix, "true"], check=False, capture_output=True)
            if tried.returncode == 0:
                return prefix
    raise OSError("running as root, and neither unshare nor setpriv can drop to another user here: start it as a user")
