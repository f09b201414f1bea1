"""The contract between the agent and a broker: a sending end, which is a target, and a receiving end.

What a channel must keep:

- `write` returns when the broker has the batch durably, in the broker's own sense. It sends `wire.pack(batch)` and
  never looks at a record. A batch beyond the broker's limit raises `TooLarge`, before it is sent where the limit is
  known.
- A `Receiver` gives an entry to one agent at a time. The broker's lease holds it (`keep` extends it), and what an
  agent does not settle comes again, elsewhere within 30 s. `ack` and `keep` of an entry that the broker has given to
  another agent do nothing.
- Own short timeouts on every call; a broker that does not answer raises `Unavailable`. Nothing crosses a fork.
- Nothing that arrives is run: an entry is bytes.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import msgspec

from tallystick.contracts import Target

LEASE_SECONDS = 20.0
"""How long an agent may hold an entry without a sign of life: another takes over within 30 s."""


class Entry(msgspec.Struct, frozen=True):
    """What came: bytes of a sender. `deliveries` counts how often it was given to an agent, this time included; `id`
    names it in the log and in a dead letter; `token` is for the receiver.
    """

    id: str
    payload: bytes
    deliveries: int = 1
    token: Any = None


class Waiting(msgspec.Struct, frozen=True):
    """What lies in a channel, not settled: entries (batches), and the age of the oldest; None where the broker cannot
    say.
    """

    entries: int | None = None
    oldest_seconds: float | None = None


class Risk(msgspec.Struct, frozen=True):
    """A setting of the broker that allows loss, and the remedy."""

    what: str
    remedy: str


class Receiver(Protocol):
    """The receiving end, used by one thread. `open` is called first, and again after `Unavailable`.

    One with `holds_many = True` gives further entries while earlier ones are neither settled nor given back.
    """

    def open(self) -> None: ...

    def receive(self, timeout_seconds: float) -> Entry | None:
        """The next entry: one that another agent left behind first, else a new one."""

    def ack(self, entry: Entry) -> bool:
        """The entry is done with. False when it was given to another agent in between."""

    def keep(self, entry: Entry) -> None:
        """Extend the lease."""

    def give_back(self, entry: Entry) -> None:
        """An orderly stop: another agent may have it at once, and this delivery does not count. Never raises."""

    def tend(self) -> None:
        """About once a second: remove what every group has settled, answer heartbeats, …"""

    def close(self) -> None:
        """Never raises."""


@runtime_checkable
class Channel(Target, Protocol):
    """`lossy` is True when the broker may lose an entry in ordinary operation; `status` and `doctor` say so."""

    takes_bytes: bool
    lossy: bool

    def receiver(self, group: str) -> Receiver:
        """The receiving end. Each group gets every entry; the agents of one group share them."""

    def waiting(self, group: str | None = None) -> Waiting:
        """What lies in the channel (for this group). Raises `Unavailable`."""

    def risks(self) -> list[Risk]:
        """What the broker's settings allow to be lost, asked of the broker. Raises `Unavailable`."""
