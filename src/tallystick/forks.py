"""What a forked child lets go of, before any of its own code runs; and how it is noticed that this is a child.

Invariants
- Whoever holds descriptors, locks or threads of this process says so (`inherited`) before there is the first, and opens
  and closes files that it locks under `no_fork`. So a child can close each of them, also those of a file that another
  thread was about to make; otherwise it would keep its dead parent's locks alive.
- `no_fork` is held for one system call at a time, and whoever holds it waits for nothing else.
- A fork in C (uWSGI's default) runs no hook of Python's. `here[0]` is 0 in a child of it, since the kernel wipes the
  page behind `here`; whoever writes looks at it and calls `look`, which does what the hook would have done.
- A child that is forked inside a Python signal handler and returns into the call that the handler interrupted is not
  supported: it may lose that call's record.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from typing import Any, Final, Protocol

from tallystick.threads import RLock

_WIPE_ON_FORK: Final = 18
"""MADV_WIPEONFORK of Linux 4.14 and later, which the module mmap does not name."""


class Inherited(Protocol):
    """What a child finds in its memory and must not use."""

    def forget_parent(self) -> None: ...


class _Here(Protocol):
    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class _Asked:
    """Where no page can be wiped: the process is asked for each time, which takes three times as long."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, index: int, /) -> int:
        return self._pid == os.getpid()

    def __setitem__(self, index: int, value: int, /) -> None:
        self._pid = os.getpid()


def _page() -> _Here:
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except (AttributeError, OSError, ValueError):
        return _Asked()
    return page if sys.platform == "linux" else _Asked()


no_fork: Final = RLock()
here: Final = _page()
here[0] = 1
_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()
_left_alone: list[object] = []


def inherited(one: Inherited) -> None:
    """In each forked child, `one.forget_parent()` will be called. `one` is known weakly."""
    with no_fork:
        _inherited.add(one)


def leave_alone(*things: object) -> None:
    """Keep what is the parent's until this process ends: to free a connection would close it for the parent, too."""
    _left_alone.append(things)


def look() -> None:
    """Do what a fork hook does, if this process was forked without one."""
    if here[0]:
        return
    no_fork._at_fork_reinit()  # another thread of the parent may have held it
    no_fork.acquire()
    if _alone():
        # The parent's threads may have left the interpreter's own lock waiting for them. Python asks whoever forks to
        # call this in the child; uWSGI does so only when it is told to. It calls our hook, too.
        import ctypes  # no other process needs it

        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        _after_fork_in_child()


def _alone() -> bool:
    """Whether this process is known to have no other thread."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _forget() -> None:
    here[0] = 1
    for one in list(_inherited):
        one.forget_parent()


def _after_fork_in_child() -> None:
    _forget()
    no_fork.release()


def _chain_uwsgi() -> None:
    """uWSGI calls one function of Python's in each worker, if there is one."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return
    before = getattr(uwsgi, "post_fork_hook", None)

    def after_fork() -> None:
        look()
        if before is not None:
            before()

    uwsgi.post_fork_hook = after_fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=_after_fork_in_child)
_chain_uwsgi()
