"""The agent: takes batches from a source and sees them into a target.

It runs as a thread inside an application (`mode="thread"`) or as the process `tallystick agent` (`mode="process"`);
who of several really delivers, the election says.

Invariants
- Only the elected agent opens the source and the target. `folder` holds its own notes: who is elected, what is on its
  way, the heartbeat.
- While it waits for a target it still keeps house: it extends the source's lease, beats, and gives way to an agent
  process.
- `stop` is orderly: what is settled is noted, what is not comes again. A target that hangs cannot hold up the
  application's exit: the thread is a daemon and is waited for no longer than it is told.
"""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Final, Literal

from tallystick import forks
from tallystick.agent import leaving
from tallystick.agent.attempt import Attempt
from tallystick.agent.delivery import Deliverer, Refused, Stopped
from tallystick.agent.election import Election
from tallystick.agent.report import Report
from tallystick.contracts import Delivery, Source, Target
from tallystick.errors import SettingsError, SpoolError, Unavailable
from tallystick.masking import hider
from tallystick.spool.background import Background
from tallystick.spool.folder import Folder
from tallystick.threads import Empty, SimpleQueue
from tallystick.waiting import steady

logger = logging.getLogger("tallystick.agent")

POLL_SECONDS: Final = 0.2
"""How soon new records are noticed when nobody wakes the agent."""
ELECTION_SECONDS: Final = 1.0
TURN_SECONDS: Final = 0.02
GIVE_WAY_SECONDS: Final = 5.0
"""So long a single pass waits for its turn; an application's thread gives way within a second, or after its batch."""
AGAIN_SECONDS: Final = 600.0
"""What keeps the agent from its work is said once, and again after so long."""
HOUSE_SECONDS: Final = 1.0
THREAD_RECORDS: Final = 200
"""A thread decodes no more at once: it holds the GIL meanwhile (10,000 made the application's p99 26 times worse)."""

Until = Literal["stopped", "empty", "passed"]


class Agent:
    """Delivers one pipeline. `source` opens it; called each time that this agent is elected.

    `chores` are done about once a second (self-metrics, retention). `urls` are what source and target were made from:
    their secrets are masked in what a driver says.
    """

    def __init__(
        self,
        folder: Folder,
        source: Callable[[], Source],
        target: Target,
        *,
        mode: Literal["thread", "process"] = "process",
        batch_records: int = 5_000,
        chores: Sequence[Callable[[Report], object]] = (),
        urls: Sequence[str | None] = (),
    ) -> None:
        self.folder = folder.open()
        self.target = target
        self.batch_records = min(batch_records, THREAD_RECORDS) if mode == "thread" else batch_records
        self.report = Report(folder, target.address, mode, hider(*urls))
        self._open_source = source
        self._election = Election(folder, as_process=mode == "process")
        self._chores = chores
        self._wake: SimpleQueue[None] = SimpleQueue()  # put to by signal handlers, too: an Event could deadlock there
        self._stopping = False
        self._finish_by = float("inf")
        self._thread: Background | None = None
        self._source: Source | None = None
        self._in_hand: Delivery | None = None
        self._attempt: Attempt | None = None
        self._last_chores = 0.0
        self._complained = ("", 0.0)
        forks.inherited(self)
        _agents.add(self)

    # --- for the owner ---

    def start(self) -> None:
        """Run in a daemon thread of this process. Idempotent."""
        if self._thread is None and not self._stopping:
            leaving.watch(_leave_all)
            thread = self._thread = Background(self.run, "tallystick-agent")
            thread.start()

    def wake(self) -> None:
        """There is something to deliver: do not wait for the next look."""
        self._wake.put(None)

    def finish(self, timeout_seconds: float = 0.0) -> None:
        """Go on until the spool is empty, but no longer than this; then stop. Returns at once."""
        self._finish_by = steady() + timeout_seconds
        self._stopping = True
        self._wake.put(None)

    def stop(self, timeout_seconds: float = 0.0) -> bool:
        """`finish`, and wait for it. True when the agent has ended in time."""
        self.finish(timeout_seconds)
        thread = self._thread
        if thread is not None and thread.refused:  # the interpreter shuts down: what can be done is done here
            self._thread = None
            return self.run()
        if thread is None or thread.join(timeout_seconds + 0.1):
            return True
        self.leave()
        return thread.ended

    def leave(self) -> None:
        """The process ends while this is at work, or hangs in its backend: that accuses none of the records on their
        way.
        """
        if self._attempt is not None:
            self._attempt.close()

    def run(self, until: Until = "stopped") -> bool:
        """Deliver until stopped, until the spool is empty (`"empty"`), or until it was gone through once (`"passed"`).

        True when it ended as asked; False when somebody else delivers and does not give way (`"passed"`) or a backend
        did not take the records.
        """
        done = False
        once = until == "passed"
        deadline = steady() + GIVE_WAY_SECONDS if once else float("inf")
        while not done and not self._over():
            try:
                if self._election.won():
                    done = self._deliver(until)
                elif steady() >= deadline or self._stopping:  # another delivers, also what we leave behind
                    break
                else:
                    self._wait(TURN_SECONDS if once else ELECTION_SECONDS)
            except Stopped:  # or it gave way while the backend did not take records: then it stands by
                if once or self._over():
                    break
            except Exception as error:
                self._election.resign()  # what keeps this one from it may not keep another
                self._complain(error)
                if once:
                    break
                self._rest(ELECTION_SECONDS)
        self._election.resign()
        return done or until == "stopped"

    def _complain(self, error: Exception) -> None:
        """Log what stopped the work before any backend was asked. Only what nobody foresaw has a traceback."""
        text, when = f"{type(error).__name__}: {error}", steady()
        if text != self._complained[0] or when - self._complained[1] >= AGAIN_SECONDS:
            self._complained = (text, when)
            foreseen = isinstance(error, (SettingsError, SpoolError, Unavailable, OSError))
            logger.error(
                "nothing of %s is delivered: %s; it is tried again every %g s",
                self.folder.path,
                error,
                ELECTION_SECONDS,
                exc_info=None if foreseen else error,
            )
        self.report.failed(error)

    # --- delivering ---

    def _deliver(self, until: Until) -> bool:
        """As long as we are elected. True when the work that `until` names is done."""
        attempt = self._attempt = Attempt(self.folder)
        deliverer = Deliverer(self.target, attempt, self.report, lambda seconds: self._pause(seconds, until))
        source = self._source = self._open_source()
        self.report.write()  # first, so that `status` names this agent
        try:
            while self._election.kept() and not self._over():
                stopping = self._stopping  # before the look: it may be set when there was nothing to see yet
                waits = until == "stopped" and not stopping
                began = steady()
                limit, doubts = self.batch_records * deliverer.doubts.stretch, deliverer.doubts
                delivery = self._in_hand = source.receive(limit, POLL_SECONDS if waits else 0.0)
                if delivery is None:
                    self._keep_house(idle=True)
                    if not waits and (stopping or not doubts):
                        return True
                    if until == "passed":
                        raise Stopped(f"{self.target.address} refuses what is left")
                    self._wait(max(0.0, began + POLL_SECONDS - steady()))
                elif not self._settle(source, deliverer, delivery):
                    break
                if doubts.ripe():
                    source.take_up()
            return self._stopping
        finally:
            attempt.close()
            source.close(keep_notes=self._election.kept())
            self._source = self._in_hand = None
            self.report.write(at_once=True)
            deliverer.close()

    def _settle(self, source: Source, deliverer: Deliverer, delivery: Delivery) -> bool:
        """Deliver and settle, or put aside what the target refuses as a whole. False when another was elected."""
        rejected: dict[int, str] | None = None
        try:
            rejected = deliverer.deliver(delivery.batch, again=delivery.again)
        except Refused:
            pass
        if not self._election.kept():
            return False
        if rejected is None:
            source.set_aside(delivery)
        else:
            source.settle(delivery, rejected)
        self._in_hand = None
        self._keep_house()
        return True

    # --- keeping house ---

    def _keep_house(self, *, idle: bool = False) -> None:
        source, now = self._source, steady()
        if source is None or not self._election.kept():  # the notes are another agent's
            return
        try:
            source.tend(idle=idle)
            if self._in_hand is not None:
                source.keep(self._in_hand)
            if now - self._last_chores >= HOUSE_SECONDS:
                self._last_chores = now
                for chore in self._chores:
                    chore(self.report)
        except (OSError, SpoolError, Unavailable) as error:
            self.report.failed(error)
        self.report.write()

    def _pause(self, seconds: float, until: Until) -> bool:
        """Wait for a backend and keep house meanwhile; False when delivery is to stop."""
        deadline = steady() + seconds
        while not self._over() and until != "passed":
            self._keep_house(idle=True)
            left = deadline - steady()
            if left <= 0:
                return True
            self._wait(min(left, HOUSE_SECONDS))
            if not self._election.kept():
                return False
        return False

    def _over(self) -> bool:
        return self._stopping and steady() >= self._finish_by

    def _wait(self, seconds: float) -> None:
        if self._stopping:
            seconds = min(seconds, 0.05, max(0.0, self._finish_by - steady()))
        with contextlib.suppress(Empty):
            self._wake.get(timeout=seconds)
            while True:
                self._wake.get_nowait()

    def _rest(self, seconds: float) -> None:
        """Wait so long, whoever wakes us meanwhile: a `flush` does so many times a second."""
        deadline = steady() + seconds
        while (left := deadline - steady()) > 0 and not self._over():
            self._wait(left)

    def forget_parent(self) -> None:
        """In a forked child: the thread is not here, and connection and locks are the parent's."""
        self._stopping = True
        self._thread = None
        forks.leave_alone(self.target, self._source, self._attempt)
        self._attempt = None


_agents: weakref.WeakSet[Agent] = weakref.WeakSet()


def _leave_all() -> None:
    for agent in list(_agents):
        agent.leave()
