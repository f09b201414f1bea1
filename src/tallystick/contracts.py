"""Where records come from and where they go: the contracts between the agent and everything that it moves.

A delivery takes a batch from a *source* and sees it into a *target*. The spool is a source, a backend is a target. A
channel is a target whose other end, often on another host, is a source. The agent knows none of them by name.

Invariants
- A batch keeps its place (segment, start, end) from the spool to the database, whatever it travels through. So a store
  with a ledger makes one row a record, whichever of several agents delivers it again.
- `Source.settle` is durable when it returns. What was received and not settled comes again, here or elsewhere.
- A verdict for every record: rejected (index and reason), kept, else accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from tallystick.records import Batch


class WriteResult(msgspec.Struct, frozen=True):
    """What became of a batch: reasons by index in `batch.records`; a record that neither names was accepted."""

    rejected: Mapping[int, str] = {}
    kept: Mapping[int, str] = {}
    retry_after_seconds: float | None = None


ACCEPTED = WriteResult()


@runtime_checkable
class Target(Protocol):
    """Takes batches: a database's backend, or a channel.

    `address` says where the records go, as a URL without secrets. A target with `takes_bytes = True` sends `batch.raw`
    and never looks at `batch.records`, so that nothing is decoded on the way.
    """

    @property
    def address(self) -> str: ...
    def open(self) -> None:
        """Connect; called before the first batch and again after a failure. Cheap when already open."""

    def write(self, batch: Batch) -> WriteResult:
        """Returns when what it accepted is durable. Raises `Unavailable` to keep all, `TooLarge` to have it halved."""

    def close(self) -> None:
        """Let go of connections; called from the thread that wrote. Never raises."""


class Delivery(msgspec.Struct, frozen=True):
    """A batch on its way, and what its source needs to settle it. `again` says that it is a dead letter to retry."""

    batch: Batch
    token: Any = None
    again: bool = False


class Source(Protocol):
    """Gives batches and learns what became of them. Used by one thread."""

    def receive(self, limit_records: int, timeout_seconds: float) -> Delivery | None:
        """The next batch, of about `limit_records` at the most; None when there is nothing within this time.

        A source that is not told of new records may return sooner; the agent waits the rest of the time.
        Raises `Unavailable` when its broker does not answer.
        """

    def settle(self, delivery: Delivery, rejected: Mapping[int, str]) -> None:
        """The whole batch is done, accepted but for the `rejected` ones (reason by index), which become dead letters of
        this host. Durable when it returns.
        """

    def set_aside(self, delivery: Delivery) -> None:
        """Not settled: it comes again after `take_up`, with what follows it; everything else goes first."""

    def take_up(self) -> None:
        """What was set aside comes again."""

    def keep(self, delivery: Delivery) -> None:
        """The agent is still working on it: extend the lease. Called each second while a target makes it wait."""

    def tend(self, *, idle: bool) -> None:
        """Keep house: save notes, remove what is finished. Called at least once a second.

        Raises `OSError`, `SpoolError` or `Unavailable`; the agent reports it and goes on.
        """

    def close(self, *, keep_notes: bool) -> None:
        """Let go. Without `keep_notes` nothing more is written: another agent's notes are newer. Never raises."""


def takes_bytes(target: object) -> bool:
    """Whether a target sends the bytes of a batch and looks at no record."""
    return bool(getattr(target, "takes_bytes", False))
