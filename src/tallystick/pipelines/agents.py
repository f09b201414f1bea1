"""The agents of a pipeline: which source goes with which target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from tallystick.agent.agent import Agent
from tallystick.agent.report import Report
from tallystick.contracts import Target
from tallystick.errors import SettingsError
from tallystick.pipelines import description
from tallystick.pipelines.naming import own_file
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
    guarded: bool = False,
) -> Agent:
    """The agent that moves records from the pipeline's spool into a backend or a channel.

    `fsync_seconds` is how often the spool is made durable, None for never; `url` is what the target was made from.
    `guarded` refuses to deliver while the pipeline's description names another target.
    """

    def source() -> SpoolSource:
        """Opened each time that the agent is elected: `pipeline move` may have been called since the last time."""
        if guarded and (why := description.elsewhere(folder, target.address, own_file(folder))):
            raise SettingsError(why)
        return SpoolSource(folder, DeadLetters(folder, dead_limit_bytes), fsync_seconds)

    return Agent(
        folder,
        source,
        target,
        mode=mode,
        batch_records=batch_records,
        chores=chores,
        urls=[url],
    )
