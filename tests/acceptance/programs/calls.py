"""Numbered calls of every kind, so that a test can tell which of them are stored."""

from __future__ import annotations

from collections.abc import Callable

from tallystick import Metrics


def calls(metrics: Metrics, tags: dict[str, str]) -> list[Callable[[int], None]]:
    """Ways to record a number: the short way, the long way, a handle; see `stage.number_of` for the way back."""
    handle = metrics.counter("handle", tags=tags)
    return [
        lambda number: metrics.increment("increment", number, tags=tags),
        lambda number: metrics.gauge("gauge", number, tags=tags),
        lambda number: metrics.timing("timing", number + 0.5, tags=tags),
        lambda number: metrics.event("event", str(number), tags=tags),
        handle.inc,
        lambda number: metrics.custom("custom", "document", {"number": number}, tags),
    ]
