"""Who delivers: whoever holds `agent.lock`; a `tallystick agent` before any application.

Invariants
- At most one holder delivers a pipeline (the locks are `flock`s: a dead holder holds nothing).
- A `tallystick agent` announces itself by `process.lock`. An application's thread never takes the agent's lock while
  that one is held, and gives it back when it sees it: so at the latest after one batch the process of its own delivers.
- A holder shows that it moves by touching its lock files (pulse.py). One that does not, as it was stopped or its
  container was paused, is deposed: its lock file is removed and another one locked in its place.
- Should two ever believe to be elected (one was deposed and goes on, or a person removed the lock file), both find out
  at the next look, and the backend's ledger keeps every record single until then. The deposed one settles nothing and
  writes no positions; it starts from the other's notes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tallystick.agent.pulse import Pulse, Watch
from tallystick.errors import SpoolError
from tallystick.spool import disk
from tallystick.spool.folder import Folder

GIVE_WAY_SECONDS: Final = 5.0
"""How long a command waits for an application's thread to give way."""


class Election:
    def __init__(self, folder: Folder, *, as_process: bool) -> None:
        self._folder = folder
        self._agent = disk.LockFile(folder.agent_lock)
        self._process = disk.LockFile(folder.process_lock) if as_process else None
        self._pulse = Pulse([lock for lock in (self._process, self._agent) if lock is not None])
        self._watches = [Watch(folder, path) for path in (folder.process_lock, folder.agent_lock)]

    def won(self) -> bool:
        """Whether we may deliver now; tries to be elected when we are not."""
        won = self._tried()
        if won or (self._process is not None and self._process.held):
            self._pulse.start()
        if not won:
            for watch in self._watches:
                watch.look()
        return won

    def _tried(self) -> bool:
        if self._process is not None:
            return self._process.acquire() and self._agent.acquire()
        if disk.is_locked(self._folder.process_lock):
            self._agent.release()
            return False
        return self._agent.acquire()

    def kept(self) -> bool:
        """Whether we have been elected all the time since we won. Else another may have delivered since then, and what
        we remember of the spool is old.
        """
        if self._process is not None:
            return self._process.held and self._agent.held
        return self._agent.held and not disk.is_locked(self._folder.process_lock)

    def resign(self) -> None:
        self._pulse.stop()
        self._agent.release()
        if self._process is not None:
            self._process.release()


def somebody_delivers(folder: Folder) -> bool:
    """Whether an agent, of any kind, holds the pipeline right now."""
    return disk.is_locked(folder.agent_lock)


@contextmanager
def elected(folder: Folder) -> Iterator[None]:
    """Nobody delivers meanwhile. Raises `SpoolError` when an agent does not give way."""
    election = Election(folder, as_process=True)
    deadline = time.monotonic() + GIVE_WAY_SECONDS
    try:
        while not election.won():
            if time.monotonic() >= deadline:
                raise SpoolError(f"an agent is delivering {folder.path}; stop it first, then repair")
            time.sleep(0.02)
        yield
    finally:
        election.resign()
