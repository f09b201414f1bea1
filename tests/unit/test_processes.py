"""What belongs to one process: a child has none of its parent's."""

from __future__ import annotations

import os
from collections.abc import Callable

from tallystick.processes import PerProcess


def in_child(look: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0 if look() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_finds_nothing_of_its_parents_and_has_its_own() -> None:
    closed: list[str] = []
    held = PerProcess(closed.append)
    assert held.get() is None
    assert held.put("the parent's") == held.get() == "the parent's"
    assert in_child(lambda: held.get() is None and held.put("the child's") == held.get() and closed == [])
    assert held.get() == "the parent's"
    held.close()
    assert held.get() is None
    assert closed == ["the parent's"]


class Connection:
    def __init__(self, ended: list[str]) -> None:
        self.ended = ended

    def close(self) -> None:
        self.ended.append("closed")

    def __del__(self) -> None:
        self.ended.append("freed")


def test_a_child_neither_closes_nor_frees_what_its_parent_made() -> None:
    ended: list[str] = []
    held = PerProcess(Connection.close)
    held.put(Connection(ended))

    def close_and_make() -> bool:
        held.close()
        held.put(Connection([]))
        return ended == []

    assert in_child(close_and_make)


def test_what_the_caller_gave_is_never_closed() -> None:
    closed: list[str] = []
    held = PerProcess(closed.append, given="the caller's")
    held.put("the caller's")
    held.close()
    assert held.get() is None
    held.put("of its own")
    held.put("another")
    held.close()
    assert closed == ["of its own", "another"]


def test_a_child_may_be_told_how_to_leave_its_parents() -> None:
    left: list[str] = []
    held = PerProcess(lambda _: None, leave=left.append)
    held.put("the parent's")

    def close() -> bool:
        held.close()
        return left == ["the parent's"]

    assert in_child(close)
    assert left == []
