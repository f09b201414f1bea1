"""What may happen many times a second is logged once in ten seconds for each reason."""

from __future__ import annotations

from typing import Final

from tallystick.waiting import steady

LOG_SECONDS: Final = 10.0
_REASONS: Final = 100


class Seldom:
    """Used by one thread."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def due(self, reason: str, count: int = 1) -> int:
        """How many there were of this reason since it was said last, with these; 0 when it was said a moment ago."""
        reason, now = reason[:80], steady()
        if len(self._said) > _REASONS:
            self.__init__()  # type: ignore[misc]
        total = self._unsaid.pop(reason, 0) + count
        if now - self._said.get(reason, float("-inf")) < LOG_SECONDS:
            self._unsaid[reason] = total
            return 0
        self._said[reason] = now
        return total
