"""Telling a process that leaves by `os._exit` from one that a record killed.

The children of multiprocessing and Celery and the work horses of RQ end by `os._exit`, whatever their threads are
doing. No hook of Python's runs then, and afterwards nothing tells it from a crash. So the function is replaced, in
processes that deliver in a thread: it first takes back the note of what is on its way.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import NoReturn


def watch(before: Callable[[], object]) -> None:
    """Have `before` called first when this process leaves by `os._exit`. Idempotent."""
    ended = os._exit
    if getattr(ended, "tallystick", False):
        return

    def _exit(status: int) -> NoReturn:
        try:
            with contextlib.suppress(Exception):
                before()
        finally:
            ended(status)

    _exit.tallystick = True  # type: ignore[attr-defined]
    os._exit = _exit
