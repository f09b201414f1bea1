"""How long calls take, and whose fault it is when one takes long.

On a busy machine any call may be interrupted for longer than it may take. Such a call did not wait by itself (the
kernel counts voluntary and involuntary context switches for each thread), and is judged apart. A call that waits for
another thread of the process that was interrupted itself cannot be told from one that waits for long work, so a few
slow calls are allowed: 5 in 10,000.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

LIMIT_MS = 5.0
NOTICED_NS = 1_000_000


class Latencies:
    def __init__(self) -> None:
        self._own_ns: list[int] = []
        self._interrupted_ns: list[int] = []

    def call(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        before = resource.getrusage(resource.RUSAGE_THREAD)
        began = perf_counter_ns()
        function(*args, **kwargs)
        took = perf_counter_ns() - began
        if took > NOTICED_NS:
            after = resource.getrusage(resource.RUSAGE_THREAD)
            if after.ru_nvcsw == before.ru_nvcsw and after.ru_nivcsw > before.ru_nivcsw:
                self._interrupted_ns.append(took)
                return
        self._own_ns.append(took)

    def figures(self) -> dict[str, float]:
        """Of all calls, and (`own_…`) of those not interrupted; `slow` is how many of these took over 5 ms."""
        own, every = sorted(self._own_ns), sorted(self._own_ns + self._interrupted_ns)
        return {
            "calls": len(every),
            "median_ms": every[len(every) // 2] / 1e6,
            "p999_ms": every[len(every) * 999 // 1000] / 1e6,
            "worst_ms": every[-1] / 1e6,
            "own_p999_ms": own[len(own) * 999 // 1000] / 1e6,
            "own_worst_ms": own[-1] / 1e6,
            "interrupted": len(self._interrupted_ns),
            "slow": sum(took > LIMIT_MS * 1e6 for took in own),
        }


def assert_never_blocked(figures: dict[str, float]) -> None:
    print(" ".join(f"{name}={value:g}" for name, value in figures.items()))
    assert figures["own_p999_ms"] <= LIMIT_MS
    assert figures["slow"] <= figures["calls"] * 5 / 10_000
