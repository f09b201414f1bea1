"""What `tallystick agent` does: an agent for every pipeline whose target is known, each in a thread.

Invariants
- A pipeline is delivered to its own target only (see targets.py). One whose target is unknown is left alone, and that
  is said once.
- What a pipeline's description says of its database (retention, batches, dead letters) is applied by whoever delivers.
- `look` may be called at any time: it starts what is new, and lets go of what is no longer there or has other settings.
- `stop` lets each agent finish the batch in hand. What is left stays in its spool.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from tallystick.agent.agent import GIVE_WAY_SECONDS, Agent, Until
from tallystick.agent.chores import chores_of
from tallystick.agent.election import somebody_delivers
from tallystick.agent.report import Heartbeat, read
from tallystick.errors import SettingsError, TallystickError
from tallystick.pipelines import description
from tallystick.pipelines.agents import spool_agent
from tallystick.pipelines.targets import Target, Where, chosen_pipeline, no_folder, targets
from tallystick.plugins import target_from_url
from tallystick.settings import Settings, load_settings
from tallystick.spool.account import account
from tallystick.spool.folder import Folder, pipelines
from tallystick.text import in_one_line, number

logger = logging.getLogger("tallystick.agent")

LOOK_SECONDS: Final = 2.0
"""How often somebody who waits for an empty spool looks whether another agent has emptied it."""


class Terms(msgspec.Struct, frozen=True):
    """What an agent was made from: when this changes, another takes its place."""

    url: str | None
    batch_records: int
    fsync_seconds: float | None
    dead_limit_bytes: int
    retention_days: int | None
    self_metrics: bool


class Delivered:
    """One pipeline and its agent, running in a thread of its own."""

    def __init__(self, target: Target, agent: Agent, until: Until, terms: Terms | None = None) -> None:
        self.target = target
        self.terms = terms
        self.done = False
        self.agent = agent
        self._until = until
        self._emptied = False
        self._said = ""
        self._next_look = time.monotonic() + LOOK_SECONDS
        self._thread = threading.Thread(target=self._run, name=f"tallystick-{target.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.done = self.agent.run(self._until) or self._emptied

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def beat(self) -> Heartbeat:
        return self.agent.report.heartbeat

    @property
    def delivered(self) -> int:
        return int(self.beat.totals["tallystick_agent_delivered_records_total"])

    @property
    def rejected(self) -> int:
        return int(self.beat.totals["tallystick_agent_rejected_records_total"])

    def look(self) -> None:
        """When another agent has emptied the spool, there is nothing left to wait for."""
        if self._until == "empty" and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            if not self._ours(read(self.target.folder)) and not account(self.target.folder).pending:
                self._emptied = True
                self.finish()

    def _ours(self, said: Heartbeat | None) -> bool:
        return said is not None and said.pid == self.beat.pid and said.since == self.beat.since

    def say(self) -> None:
        """Log it when another delivers, and when it is our turn."""
        said = read(self.target.folder)
        if said is not None and self._ours(said):
            text = f"delivering {self.target.name} to {self.target.address}"
        elif said is not None and said.mode == "process" and somebody_delivers(self.target.folder):
            text = f"standing by for {self.target.name}: an agent delivers it, pid {said.pid} on {said.host}"
        else:
            return
        if text != self._said:
            self._said = text
            logger.info("%s", text)

    def finish(self) -> None:
        self.agent.finish(0)

    def ended(self, deadline: float) -> bool:
        """Wait for it until then (`time.monotonic`). False when it hangs in its backend, and is left there."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self.agent.leave()
        return not self._thread.is_alive()


def stop_all(running: Mapping[str, Delivered], timeout_seconds: float) -> list[str]:
    """Let each finish its batch; the names of those that did not end in time."""
    for delivered in running.values():
        delivered.finish()
    deadline = time.monotonic() + timeout_seconds
    return [name for name, delivered in running.items() if not delivered.ended(deadline)]


def _agent(target: Target, terms: Terms, settings: Settings) -> Agent:
    backend = target.backend()
    return spool_agent(
        target.folder,
        backend,
        mode="process",
        batch_records=terms.batch_records,
        fsync_seconds=terms.fsync_seconds,
        dead_limit_bytes=terms.dead_limit_bytes,
        chores=chores_of(_for(target, settings), target.folder, backend),
        url=target.url,
        guarded=True,
    )


class Deliveries:
    """All pipelines of a home, or the one that was named."""

    def __init__(self, where: Where, until: Until) -> None:
        self.where = where
        self.until = until
        self.running: dict[str, Delivered] = {}
        self._own = self._settings()
        self._said: dict[str, str] = {}
        self._begun = False

    def _settings(self) -> Settings:
        """Raises `SettingsError`, also for a backend's URL that cannot be."""
        own = load_settings(home=self.where.home)
        for url in (own.backend_url, own.channel_url, self.where.backend):
            if url is not None:
                target_from_url(url)
        return own

    def reread(self) -> None:
        """Take the settings as they are now. Raises `SettingsError` when they are wrong; then the old ones stay."""
        self._own = self._settings()
        self._said.clear()
        self.look()

    def look(self) -> None:
        """Start what is new; replace what has other settings."""
        own = self._own
        found = {target.name: target for target in self._targets()}
        for name, delivered in list(self.running.items()):
            target = found.get(name)
            if target is None or target.unknown or delivered.terms != _terms(target, own):
                logger.info("%s: letting go of %s", name, delivered.target.address)
                delivered.finish()
                delivered.ended(time.monotonic() + GIVE_WAY_SECONDS)
                del self.running[name]
        for name, target in found.items():
            if name not in self.running and self._may_start(target):
                self._start(target, own)
        self._begun = True

    def _targets(self) -> list[Target]:
        """A pipeline that was named and is not there yet is waited for, as all others are."""
        named = self.where.pipeline
        known = {one.name for one in pipelines(self._own.home)}
        if self.until == "stopped" and named and named not in known and not no_folder(Folder(self._own.home, named)):
            return []
        try:
            found = targets(self.where, self._own, broken=True)
        except SettingsError as error:
            if not self._begun:
                raise
            self._say_once("", f"{error}; going on as before")
            return [one.target for one in self.running.values() if one.target.folder.path.exists()]
        return [one for one in found if not one.folder.description().get("source")]  # those agents read a channel

    def _may_start(self, target: Target) -> bool:
        if why := no_folder(target.folder):
            self._say_once(target.name, f"not delivering {target.name}: {why}")
            return False
        if target.unknown:
            self._say_once(target.name, f"not delivering {target.name}: {target.unknown}")
        return not target.unknown

    def _start(self, target: Target, own: Settings) -> None:
        try:
            if target.name == chosen_pipeline(Where(), own):
                description.tell(target.folder, own, over=False)
            terms = _terms(target, own)
            self.running[target.name] = Delivered(target, _agent(target, terms, own), self.until, terms)
        except TallystickError as error:
            self._say_once(target.name, f"not delivering {target.name}: {error}")

    def _say_once(self, name: str, text: str) -> None:
        if self._said.get(name) != text:
            self._said[name] = text
            logger.warning("%s", text)

    def say(self) -> None:
        for delivered in self.running.values():
            delivered.say()

    @property
    def ended(self) -> bool:
        for delivered in self.running.values():
            delivered.look()
        return not any(delivered.running for delivered in self.running.values())

    def stop(self, timeout_seconds: float) -> list[str]:
        """Let each finish its batch; the names of those that did not end in time."""
        return stop_all(self.running, timeout_seconds)

    def shortfalls(self) -> list[str]:
        """After a pass: what could not be delivered, one sentence a pipeline."""
        found = []
        for target in targets(self.where, self._own, broken=True):
            name, one = target.name, self.running.get(target.name)
            if why := no_folder(target.folder):
                found.append(f"{name}: {why}")
                continue
            if one is not None and one.rejected:
                found.append(f"{name}: {number(one.rejected)} rejected; see `tallystick dead list --pipeline {name}`")
            if one is None or not one.done:
                pending = sum(account(target.folder).pending.values())
                error = in_one_line(one.beat.last_error, target.setup) if one is not None else ""
                if pending:
                    found.append(f"{name}: {number(pending)} pending{f': {error}' if error else ''}")
        return found


def _for(target: Target, own: Settings) -> Settings:
    """What its description says, and else what the settings say; how long records are kept only for their own
    pipeline: another's database is not ours to prune.
    """
    if target.name != chosen_pipeline(Where(), own):
        own = msgspec.structs.replace(own, retention_days=None)
    return description.in_force(target.folder, own)


def _terms(target: Target, own: Settings) -> Terms:
    said = _for(target, own)
    return Terms(
        target.url,
        said.batch_records,
        said.fsync_interval_seconds if said.fsync == "interval" else None,
        said.dead_limit_bytes,
        said.retention_days,
        said.self_metrics,
    )
