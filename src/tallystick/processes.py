"""What belongs to the process that made it: a connection, a client, a handle.

Invariants
- A thing is given to the process that put it there and to no other: a child finds nothing and makes its own.
- A child neither closes nor frees what its parent made. Many drivers say goodbye to the server when a connection of
  theirs is closed or freed, and that would end the parent's.
- The process is asked for at each use, so forks that run no Python hook (uWSGI, any fork in C) are noticed, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_of_parents: Final[list[object]] = []
"""What forks carried into this process. It stays as it is until the process ends."""


class PerProcess(Generic[T]):
    """Holds one thing for each process.

        held = PerProcess(Connection.close)
        connection = held.get() or held.put(connect())

    `close` is what ends a thing. `given` is one that belongs to the caller: `close` leaves it open. `leave` is what a
    child does with its parent's; without it, the child keeps it and never touches it.
    """

    __slots__ = ("_close", "_given", "_held", "_leave")

    def __init__(
        self,
        close: Callable[[T], object],
        *,
        given: T | None = None,
        leave: Callable[[T], object] = _of_parents.append,
    ) -> None:
        self._close = close
        self._given = given
        self._leave = leave
        self._held: tuple[int, T] | None = None

    def get(self) -> T | None:
        """This process's own; None in a child of the process that put it, and when there is none."""
        held = self._held
        return held[1] if held is not None and held[0] == os.getpid() else None

    def put(self, thing: T) -> T:
        """Hold this from now on. What was held before is closed; a parent's is left to the parent."""
        self.close()
        self._held = os.getpid(), thing
        return thing

    def close(self) -> None:
        """Hold nothing. Closes what this process put, but for the caller's own."""
        held, self._held = self._held, None
        if held is None or held[1] is self._given:
            return
        if held[0] == os.getpid():
            self._close(held[1])
        else:
            self._leave(held[1])
