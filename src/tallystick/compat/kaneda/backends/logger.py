"""Kaneda's logger backend: for debugging, at once and without a spool."""

from __future__ import annotations

import logging
from typing import Any, Final

from tallystick.compat.kaneda.backends.base import BaseBackend

NAME: Final = "kaneda.backends.logger"
FORMAT: Final = "%(asctime)s - %(name)s - %(message)s"

_loggers: Final[dict[str, logging.Logger]] = {}
"""By file; "" is standard error. Not the logger of that name itself, or each further backend would double all lines."""


def _logger(filename: str) -> logging.Logger:
    made = logging.Logger(NAME, logging.INFO)  # noqa: LOG001
    made.parent = logging.getLogger(NAME)
    handler = logging.FileHandler(filename, delay=True) if filename else logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    made.addHandler(handler)
    return made


class LoggerBackend(BaseBackend):
    """Logs each record as the dict that a store would get.

    To `logger`, as it is configured; without one to the file `filename`, or to standard error.
    """

    settings_namespace = "LOGGER"

    def __init__(self, logger: Any = None, filename: str = "") -> None:
        if logger is not None:
            self.logger = logger
            return
        self.logger = _loggers.get(filename) or _loggers.setdefault(filename, _logger(filename))

    def _get_payload(self, name: str, value: Any, metric: Any, tags: Any = None, id_: Any = None) -> dict[str, Any]:  # type: ignore[override]
        made = super()._get_payload(name, value, tags)
        made["metric"] = metric
        if id_:
            made["_id"] = id_
        return made

    def report(
        self, name: str, metric: str, value: Any, tags: Any, id_: Any, *, at: int | None = None, host: str = ""
    ) -> Any:
        made = self._get_payload(name, value, metric, tags, id_)
        if host:
            made["host"] = host
        return self.logger.info(made)
