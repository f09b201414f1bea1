"""A thread of the library's own does its work also where the interpreter gives no more threads."""

from __future__ import annotations

import threading

import pytest

from tallystick.spool.background import Background


def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't create new thread at interpreter shutdown")


def test_the_work_is_done_when_the_interpreter_began_to_shut_down_before_the_thread_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[bool] = []
    background = Background(lambda: done.append(True), "tallystick-test")
    background.start()
    assert background.join(30)
    assert done == [True]


def test_who_gets_no_thread_at_all_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("tallystick.spool.background.start_real", none_left)
    background = Background(lambda: None, "tallystick-test")
    background.start()
    assert background.ended
    assert background.join(0)
