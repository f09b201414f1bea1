"""What strikes a call from outside: an exception of a signal handler, or one that was thrown into this thread.

Time limits work that way (`signal.setitimer`, `PyThreadState_SetAsyncExc`), between any two steps of ours. Such an
exception belongs to the application and must reach it. And the call that it ended must not go on by another way: its
line may be written already, and would be there twice.

Nothing marks such an exception, so it is told by what ours have and it has not. What a step of ours raises, or a
function in C that it called, says something and is of a class of Python's, of msgspec's or of ours. What is thrown into
a thread is of a class that somebody else wrote, or says nothing. A handler is called with a frame.
"""

from __future__ import annotations

import functools
import sys
import threading
import traceback
from types import CodeType, FrameType
from typing import Any, Final

_OURS: Final = ("msgspec", "tallystick")
_WORDLESS: Final = (MemoryError, StopIteration, StopAsyncIteration)
"""What functions in C raise without a word."""


def from_outside(error: BaseException) -> bool:
    """Whether `error`, caught around steps of ours, is from outside. What the caller's own objects raise is not."""
    trace = error.__traceback__
    if trace is None:
        return False
    if trace.tb_next is None:  # raised here, or by a function in C that was called here, as nearly always
        return _is_thrown(error)
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    if all(map(_is_own, frames)):
        return _is_thrown(error)
    return threading.current_thread() is threading.main_thread() and _is_handlers(frames)


def _is_thrown(error: BaseException) -> bool:
    """Of an error on whose way is no code but ours and Python's."""
    module = _top(type(error).__module__)
    if module not in _OURS and module not in sys.stdlib_module_names:
        return True
    return not error.args and not isinstance(error, _WORDLESS)


def _is_own(frame: FrameType) -> bool:
    module = _top(frame.f_globals.get("__name__", ""))
    return module == "tallystick" or module in sys.stdlib_module_names


def _is_handlers(frames: list[FrameType]) -> bool:
    """Whether one of these frames is a signal handler's; it may have taken itself out of its place before it raised."""
    foreign = [frame for frame in frames if _top(frame.f_globals.get("__name__", "")) != "tallystick"]
    # To ask for every signal's handler takes a quarter of a millisecond.
    return any(map(_was_given_a_frame, foreign)) or not handlers().isdisjoint(frame.f_code for frame in foreign)


def _was_given_a_frame(frame: FrameType) -> bool:
    """By type, since objects of the caller's may fail when they are asked for their class."""
    given = frame.f_locals.values()
    return any(type(one) is FrameType or (type(one) is tuple and FrameType in map(type, one)) for one in given)


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
