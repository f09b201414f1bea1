"""Threads, locks and queues of the operating system, also where gevent or eventlet put greenlets in their place.

What delivers must not run as a greenlet: a database that does not answer would stop every other greenlet of the
process, and a lock that a greenlet waits for stops them for good. Both libraries replace the functions in Python's
modules, before or after this one is imported. What it took before stays real; what they took first it makes once more.
`SimpleQueue` is the C one, while `queue.SimpleQueue` may be a greenlet's.
"""

from __future__ import annotations

import _thread
import importlib.machinery
import importlib.util
import threading
from _queue import Empty, SimpleQueue
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any, Final

__all__ = ["Empty", "Lock", "RLock", "SimpleQueue", "patched", "real", "start_real"]


def _own_threads() -> Any:
    """The module `_thread` as Python made it, made once more when its functions were replaced."""
    if isinstance(_thread.start_new_thread, BuiltinFunctionType) and isinstance(
        _thread.allocate_lock, BuiltinFunctionType
    ):
        return _thread
    spec = importlib.machinery.BuiltinImporter.find_spec("_thread")
    if spec is None:
        return _thread
    fresh = importlib.util.module_from_spec(spec)
    if spec.loader is not None:
        spec.loader.exec_module(fresh)
    return fresh


_own: Final = _own_threads()
start_real: Final[Callable[..., int]] = _own.start_new_thread
"""Starts a thread of the operating system: `start_real(function, arguments)`."""
Lock: Final = _own.allocate_lock
RLock: Final = _own.RLock

real: Final = isinstance(start_real, BuiltinFunctionType)
"""False where no thread of the operating system can be had: then this process delivers nothing itself."""


def patched() -> bool:
    """Whether threads of `threading` are greenlets by now."""
    return not isinstance(getattr(threading, "_start_new_thread", start_real), BuiltinFunctionType)
