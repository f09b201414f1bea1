"""Kaneda for Django: `from tallystick.compat.django_kaneda import metrics`, made from the settings at its first use."""

from __future__ import annotations

import logging
import threading
from importlib import import_module
from typing import Any

from tallystick.compat.kaneda.base import Metrics
from tallystick.compat.kaneda.exceptions import SettingsError, UnexistingKanedaClass

__all__ = ["LazyMetrics", "metrics"]


class LazyMetrics:
    """A `Metrics` that is made when something of it is asked for.

    `KANEDA_DEBUG` wins over all, and in it `KANEDA_LOGGER` over `KANEDA_LOGGER_FILENAME`; of a queue and a backend the
    queue is used. Raises `SettingsError` when nothing is set, `UnexistingKanedaClass` for a class that is not there.
    """

    def __init__(self) -> None:
        self.__dict__["_lock"] = threading.Lock()
        self.__dict__["_wrapped"] = None

    def _setup(self) -> None:
        with self.__dict__["_lock"]:
            if self.__dict__["_wrapped"] is None:
                self.__dict__["_wrapped"] = _made()

    def __getattr__(self, name: str) -> Any:
        self._setup()
        return getattr(self.__dict__["_wrapped"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_wrapped":
            self.__dict__[name] = value
            return
        self._setup()
        setattr(self.__dict__["_wrapped"], name, value)


def _made() -> Metrics:
    from tallystick.compat.kaneda.backends import LoggerBackend
    from tallystick.compat.kaneda.queues import BaseQueue
    from tallystick.compat.kaneda.utils import get_object_from_settings

    settings: Any = globals().get("settings") or import_module("tallystick.compat.django_kaneda.settings")
    if settings.DEBUG:
        logger = logging.getLogger(settings.LOGGER) if settings.LOGGER else None
        return Metrics(backend=LoggerBackend(logger=logger, filename=settings.LOGGER_FILENAME or ""))
    chosen = settings.QUEUE or settings.BACKEND
    if not chosen:
        raise SettingsError("You need to set KANEDA_BACKEND or KANEDA_QUEUE in the settings of the project")
    name = "KANEDA_QUEUE" if settings.QUEUE else "KANEDA_BACKEND"
    try:
        made = get_object_from_settings(chosen, settings)
    except UnexistingKanedaClass as error:
        raise UnexistingKanedaClass(f"The class of {name} does not exist: {error}") from error
    return Metrics(queue=made) if isinstance(made, BaseQueue) or settings.QUEUE else Metrics(backend=made)


metrics = LazyMetrics()
