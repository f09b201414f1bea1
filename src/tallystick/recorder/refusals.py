"""What happens to a call with bad input: counted by reason and name, and logged at most once in ten seconds a
reason.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from tallystick.errors import RecordError

logger = logging.getLogger("tallystick.recorder")

LOG_SECONDS: Final = 10.0


class Refusals:
    def __init__(self) -> None:
        self._logged: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}

    def note(self, error: RecordError, name: str) -> None:
        """Log the refusal, unless one of the same reason was logged a moment ago."""
        now = time.monotonic()
        if now - self._logged.get(error.reason, float("-inf")) < LOG_SECONDS:
            self._unlogged[error.reason] = self._unlogged.get(error.reason, 0) + 1
            return
        self._logged[error.reason] = now
        more = self._unlogged.pop(error.reason, 0)
        also = f" ({more} more of this kind since the last such line)" if more else ""
        logger.warning("refused a record of %s: %s%s", name, error, also)


def printable(name: object) -> str:
    """Some name for counting and logging, whatever was given as one."""
    shown = name if isinstance(name, str) else f"<{type(name).__name__}>"
    return shown[:64].encode("utf-8", "replace").decode().replace("\0", "?")
