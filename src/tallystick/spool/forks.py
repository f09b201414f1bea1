"""What a forked child lets go of, before any of its own code runs.

Invariants
- Whoever has descriptors of this process's own files says so (`inherited`) before it opens the first, and opens and
  closes them under `no_fork`. So a child can close each of them, also those of a file that another thread was about to
  make; otherwise it would keep its dead parent's locks alive.
- `no_fork` is held for one system call at a time, and whoever holds it waits for nothing else: a signal handler may
  fork at any moment.
- A signal handler's child may return into what the handler interrupted. Who works on such a file looks, before it shows
  the file to anybody, whether it is still the process that began.
"""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol

from tallystick.threads import RLock


class Inherited(Protocol):
    """What a child finds in its memory and must not use."""

    def forget_parent(self) -> None: ...


no_fork: Final = RLock()
_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()


def inherited(one: Inherited) -> None:
    """In each forked child, `one.forget_parent()` will be called. `one` is known weakly."""
    with no_fork:
        _inherited.add(one)


def _after_fork_in_child() -> None:
    for one in list(_inherited):
        one.forget_parent()
    no_fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=_after_fork_in_child)
