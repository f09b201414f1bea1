"""Recorders of one pipeline in one process share a spool and an agent.

A web application that makes a `Metrics()` for each request would else have a segment, a thread and two descriptors for
each of them, and its spool would be full after a few hundred.

Invariants
- What concerns the way (home, pipeline, backend, app, host, sizes, limits) is the same for all that share one. Tags may
  differ: those of the first recorder stand in the header of each segment, so whichever has others shares a second
  spool, without tags in its headers, and puts its own into each line.
- A way is closed with the last recorder that is closed. One that was forgotten and never closed keeps it open until the
  process ends.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Final

from tallystick import threads
from tallystick.pipelines.route import Route, SpoolRoute, make_route
from tallystick.records import Tags
from tallystick.settings import Settings

logger = logging.getLogger("tallystick.recorder")

MANY: Final = 50
"""As many recorders of one way, made and never closed, are a mistake that is worth a line in the log."""

_OF_ONE_RECORDER: Final = {"tags", "strict", "sample_rate", "namespace", "scrub", "exit_timeout_seconds", "sources"}


class Hold:
    """One recorder's hold on a way; its bound children have the same one. `tags` are those that its lines must carry.

    `key` is None for a way that is not shared.
    """

    def __init__(self, route: Route, tags: Tags, key: _Key | None) -> None:
        self.route = route
        self.tags = tags
        self._key = key
        self._released = False

    def release(self, timeout_seconds: float) -> bool:
        """Close the way when this was the last recorder of it, else wait until what was recorded is settled. Whether it
        is closed.
        """
        with _lock:
            if not self._released:
                _let_go(self._key, self.route)
            self._released = True
            shared = _is_shared(self._key, self.route)
        if shared:
            self.route.flush(timeout_seconds)
        else:
            self.route.close(timeout_seconds)
        return not shared


class _Shared:
    """A way, how many hold it, and the tags in its headers."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.holders = 0
        self.made = 0


_Key = tuple[Any, ...]
_shared: dict[_Key, _Shared] = {}
_lock = threads.RLock()


def hold_route(settings: Settings, backend: object, tags: Tags) -> Hold:
    """As `make_route`: the way that fits, a new one where there is none. Raises `SettingsError`."""
    way = _way(settings, backend)
    with _lock:
        first = next((key for key in _shared if key[0] == way), None)
        in_header = first is None or first[1] == _frozen(tags)
        key = (way, _frozen(tags if in_header else {}))
        if key not in _shared:
            route = make_route(settings, backend, tags if in_header else {})
            if not isinstance(route, SpoolRoute):
                return Hold(route, {}, None)
            _shared[key] = _Shared(route)
        shared = _shared[key]
        shared.holders += 1
        shared.made += 1
        if shared.made == MANY:
            logger.warning(
                "%d recorders were made for %s; make one, where the application starts, and use it everywhere",
                MANY,
                settings.pipeline,
            )
        return Hold(shared.route, {} if in_header else tags, key)


def _way(settings: Settings, backend: object) -> _Key:
    told = tuple(str(getattr(settings, name)) for name in settings.__struct_fields__ if name not in _OF_ONE_RECORDER)
    given = backend if isinstance(backend, str) else None if backend is None else id(backend)
    return (*told, settings.source("pipeline") == "default", given)


def _frozen(tags: Tags) -> _Key:
    return tuple(sorted(tags.items()))


def _is_shared(key: _Key | None, route: Route) -> bool:
    return key is not None and key in _shared and _shared[key].route is route


def _let_go(key: _Key | None, route: Route) -> None:
    """Under the lock."""
    if key is not None and _is_shared(key, route):
        _shared[key].holders -= 1
        if not _shared[key].holders:
            del _shared[key]


def _after_fork_in_child() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock  # noqa: PLW0603
    _lock = threads.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
