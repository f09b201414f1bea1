"""Every drop makes a sound: one warning in ten seconds for each reason.

Invariants
- A call never waits for another thread that logs, and the log is written under no lock of the spool's.
"""

from __future__ import annotations

import logging
from typing import Final

from tallystick.threads import Lock
from tallystick.waiting import steady

logger = logging.getLogger("tallystick.spool")

LOG_SECONDS: Final = 10.0


class Complaints:
    """Of one recorder: says why records are dropped, and how many since it was said last."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}
        self._lock = Lock()

    def dropped(self, reason: str, sentence: str, count: int = 1) -> None:
        """Records were dropped for this reason, which the sentence explains, with the remedy."""
        if not self._lock.acquire(blocking=False):  # a signal handler in the midst of this, or a thread beside us
            return
        try:
            self._unsaid[reason] = unsaid = self._unsaid.get(reason, 0) + count
            now = steady()
            if now - self._logged.get(reason, float("-inf")) < LOG_SECONDS:
                return
            self._logged[reason] = now
            self._unsaid[reason] = 0
        finally:
            self._lock.release()
        again = f" ({unsaid:,} since this was said last)" if unsaid > count else ""
        logger.warning("records are dropped, and counted as %s: %s%s", reason, sentence, again)
