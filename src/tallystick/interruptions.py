"""What strikes a call from outside: an exception of a signal handler, or one that was raised into this thread.

Time limits work that way (`signal.setitimer`, `PyThreadState_SetAsyncExc`), between any two steps of ours. Such an
exception belongs to the application and must reach it. And the call that it ended must not go on by another way: its
line may be written already, and would be there twice.
"""

from __future__ import annotations

import functools
import threading
import traceback
from types import CodeType
from typing import Any, Final

_OURS: Final = ("builtins", "msgspec", "tallystick")
"""The modules whose exceptions our own steps raise."""


def from_outside(error: BaseException) -> bool:
    """Whether `error`, caught around steps that hardly ever run code of the caller's, is from outside."""
    trace = error.__traceback__
    if trace is None or (trace.tb_next is None and type(error).__module__ == "builtins"):
        return False  # raised by a function in C that we called, as nearly always
    if from_handler(error):
        return True
    *_, (frame, _) = traceback.walk_tb(trace)
    # Thrown into the thread: it begins in a line of ours, which raises nothing of the kind.
    return _top(frame.f_globals.get("__name__", "")) == "tallystick" and _top(type(error).__module__) not in _OURS


def from_handler(error: BaseException) -> bool:
    """Whether a signal handler raised it, which its traceback tells."""
    if threading.current_thread() is not threading.main_thread():
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    foreign = [frame.f_code for frame in frames if _top(frame.f_globals.get("__name__", "")) != "tallystick"]
    # What we raised ourselves has none; to ask for every signal's handler takes a quarter of a millisecond.
    return bool(foreign) and not handlers().isdisjoint(foreign)


def handlers() -> set[CodeType | None]:
    """The code of each signal handler that was set in Python; None among them stands for those that have none."""
    import signal  # most programs need no more of it than their interpreter does

    found = {signal.getsignal(number) for number in signal.valid_signals()} - {signal.default_int_handler}
    return {_code(handler) for handler in found if callable(handler)}


def _code(handler: Any) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _top(module: str) -> str:
    return module.partition(".")[0]
