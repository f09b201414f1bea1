"""The agents of a pipeline: which source goes with which target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from tallystick.agent.agent import Agent
from tallystick.agent.report import Report
from tallystick.contracts import Target
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder
from tallystick.spool.source import SpoolSource


def spool_agent(
    folder: Folder,
    target: Target,
    *,
    mode: Literal["thread", "process"] = "process",
    batch_records: int = 5_000,
    fsync_seconds: float | None = 1.0,
    dead_limit_bytes: int = 100_000_000,
    chores: Sequence[Callable[[Report], object]] = (),
    url: str | None = None,
) -> Agent:
    """The agent that moves records from the pipeline's spool into a backend or a channel.

    `fsync_seconds` is how often the spool is made durable, None for never; `url` is what the target was made from.
    """
    return Agent(
        folder,
        lambda: SpoolSource(folder, DeadLetters(folder, dead_limit_bytes), fsync_seconds),
        target,
        mode=mode,
        batch_records=batch_records,
        chores=chores,
        urls=[url],
    )
