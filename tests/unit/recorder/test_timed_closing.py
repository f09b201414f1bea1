"""A timed generator that is left early cleans up when it is closed, not some time later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator

from tests.unit.recorder.conftest import Lines

from tallystick.recorder.metrics import Metrics


def test_a_generator_that_is_left_early_is_cleaned_up_and_timed(metrics: Metrics, lines: Lines) -> None:
    steps: list[str] = []

    @metrics.timed("rows")
    def rows() -> Generator[int, None, None]:
        try:
            yield 1
            yield 2
        finally:
            steps.append("cleaned")

    generator = rows()
    next(generator)
    generator.close()
    assert steps == ["cleaned"]
    assert lines.one()[:2] == ["timing", "rows"]


def test_an_async_generator_that_is_left_early_is_cleaned_up_before_it_is_timed(
    make_metrics: Callable[..., Metrics], lines: Lines
) -> None:
    metrics = make_metrics()
    steps: list[str] = []

    @metrics.timed("rows")
    async def rows() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            steps.append(f"cleaned, {len(lines.raw)} recorded")

    async def leave_early() -> None:
        generator = rows()
        await anext(generator)
        await generator.aclose()
        assert steps == ["cleaned, 0 recorded"]

    asyncio.run(leave_early())
    assert lines.one()[:2] == ["timing", "rows"]
