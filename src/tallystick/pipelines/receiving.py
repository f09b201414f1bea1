"""Agents that move records on from a channel: `tallystick agent --from redis://queue-1 --to postgresql://db1/metrics`.

Each pair of a channel and a target is a pipeline of this home, with notes, dead letters and books of its own. Several
agents of one pair share the work; each has a folder, `…-2` and so on, since one agent at a time keeps a folder's books.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from tallystick.agent.agent import Agent, Until
from tallystick.channels.source import ChannelSource
from tallystick.masking import mask_url
from tallystick.pipelines import description
from tallystick.pipelines.deliveries import Delivered, stop_all
from tallystick.pipelines.naming import named_after
from tallystick.pipelines.targets import Target
from tallystick.plugins import channel_from_url, target_from_url
from tallystick.settings import Settings
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder

NAME_CHARACTERS: Final = 90


def group_of(channel_url: str, address: str, *, alone: bool) -> str:
    """The group that delivers there: what the URL says, else one for each target, and `default` for the only one."""
    given = getattr(channel_from_url(channel_url), "group", "default")
    return str(given) if alone or given != "default" else named_after(address)


class Receiving:
    """All agents from one channel to these targets, each in a thread of its own. Raises `SettingsError`."""

    def __init__(self, settings: Settings, source: str, targets: Sequence[str], until: Until, concurrency: int) -> None:
        self.until = until
        self.running: dict[str, Delivered] = {}
        channel = channel_from_url(source).address
        for url in targets:
            address = str(target_from_url(url).address)
            group = group_of(source, address, alone=len(targets) == 1)
            for number in range(1, concurrency + 1):
                name = _name(channel, address, number)
                folder = Folder(settings.home, name).open()
                facts = description.facts(address, "url", url)
                description.first(folder, {**facts, "source": mask_url(source)})
                target = Target(folder, url, address)
                agent = _agent(target, source, group, settings)
                self.running[name] = Delivered(target, agent, until)

    def look(self) -> None:
        """Nothing comes later: the pairs were named."""

    reread = look

    def say(self) -> None:
        for one in self.running.values():
            one.say()

    @property
    def ended(self) -> bool:
        return not any(one.running for one in self.running.values())

    def stop(self, timeout_seconds: float) -> list[str]:
        """Let each finish its batch; the names of those that did not end in time."""
        return stop_all(self.running, timeout_seconds)

    def shortfalls(self) -> list[str]:
        found = []
        for name, one in self.running.items():
            if one.rejected:
                found.append(f"{name}: {one.rejected:,} rejected; see `tallystick dead list --pipeline {name}`")
            if not one.done:
                found.append(f"{name}: {one.beat.last_error or 'not all was delivered'}")
        return found


def _name(channel: str, address: str, number: int) -> str:
    name = f"{named_after(channel)}-to-{named_after(address)}"
    if len(name) > NAME_CHARACTERS:
        digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
        name = f"{name[: NAME_CHARACTERS - 9]}.{digest}"
    return name if number == 1 else f"{name}-{number}"


def _agent(target: Target, source: str, group: str, settings: Settings) -> Agent:
    folder = target.folder

    def opened() -> ChannelSource:
        return ChannelSource(folder, DeadLetters(folder, settings.dead_limit_bytes), channel_from_url(source), group)

    return Agent(folder, opened, target.backend(), mode="process", urls=[source, target.url])
