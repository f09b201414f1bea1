"""How long to wait before the next try: full jitter, for ever.

A wait is drawn evenly between nothing and a ceiling that doubles from 0.5 s to 60 s, so that many agents whose database
comes back do not all knock at once (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
A server's own Retry-After is a floor, up to a quarter of an hour: a mistaken date or number stops nothing for good.
"""

from __future__ import annotations

import random
from typing import Final

FIRST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 60.0
LONGEST_ASKED_SECONDS: Final = 900.0
"""The most that a Retry-After is believed."""


class Backoff:
    def __init__(self) -> None:
        self.failures = 0

    def failed(self, retry_after_seconds: float | None = None) -> float:
        """Note a failure; seconds to wait now."""
        ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self.failures, 30))
        self.failures += 1
        return max(random.uniform(0, ceiling), min(retry_after_seconds or 0.0, LONGEST_ASKED_SECONDS))

    def succeeded(self) -> None:
        self.failures = 0
