"""What happens to a call with bad input: counted by reason and name, and logged at most once in ten seconds a
reason.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Final

from tallystick.errors import RecordError, said_by
from tallystick.interruptions import from_outside

logger = logging.getLogger("tallystick.recorder")

LOG_SECONDS: Final = 10.0


class Refusals:
    def __init__(self) -> None:
        self._logged: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, error: RecordError, name: str) -> None:
        """Log the refusal, unless one of the same reason was logged a moment ago."""
        now = time.monotonic()
        # Two threads log one line. A signal handler that comes in between, or a forked child, does not wait for it.
        alone = self._lock.acquire(blocking=False)
        try:
            if not alone or now - self._logged.get(error.reason, float("-inf")) < LOG_SECONDS:
                self._unlogged[error.reason] = self._unlogged.get(error.reason, 0) + 1
                return
            self._logged[error.reason] = now
        finally:
            if alone:
                self._lock.release()
        more = self._unlogged.pop(error.reason, 0)
        also = f" ({more} more of this kind since the last such line)" if more else ""
        logger.warning("refused a record %s: %s%s", f"of {name}" if name else "without a name", error, also)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """What an object's own code raises while it is looked at becomes a `RecordError`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, RecordError) or from_outside(error):
            raise
        raise RecordError("failed", "record", said_by(error)) from error


def printable(name: object) -> str:
    """Some name for counting and logging, whatever was given as one."""
    try:
        shown = str.__str__(name) if isinstance(name, str) else f"<{type(name).__name__}>"
    except Exception:  # a proxy to what is not there
        shown = "<?>"
    return shown[:64].encode("utf-8", "replace").decode().replace("\0", "?")
