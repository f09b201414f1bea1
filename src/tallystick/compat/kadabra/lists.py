"""Kadabra's Redis list as a channel: `kadabra+redis://host:6379/0?queue=kadabra_queue&inprogress=kadabra_inprogress`.

    kadabra_queue                      clients push at the left, agents take from the right
    kadabra_inprogress                 what agents have in hand, newest at the left
    kadabra_inprogress:tallystick      our agents' batches: when the lease of each ends
    kadabra_inprogress:tallystick:ID   the entries of one batch
    kadabra_queue:tallystick:SEGMENT   what was sent of a spool's segment (one day)

Invariants
- What an agent takes is in the list in progress until it is published, where old agents look for it, too. Beside it, a
  batch of ours keeps its entries together: an agent that takes it over has the same records at the same places.
- Taking, settling, giving back and sending are scripts in the server, so none is ever half done.
- The bytes that were taken are removed, not what we would write. The newest stands first there, so a batch is removed
  from the left, last entry first: one step an entry, however much is in progress.
- What old agents left in progress is taken over when it has been seen there for `threshold_seconds`, oldest first.
- A batch of a spool that is sent again pushes what was not pushed, and nothing else.

More options: `batch` (entries at once, 5000), `every_seconds` (take only so often), `frequency_seconds` (30),
`threshold_seconds` (60) and `limit` (5000) of the look at what is in progress, `lease_seconds` (20), `whole=yes` (one
record an entry, for publishers of whole collections).
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar, Final, Self

from tallystick.backends._url import ServerUrl, read_url
from tallystick.channels.base import LEASE_SECONDS, Entry, Risk, Waiting
from tallystick.channels.redis import answers, connect, server_risks
from tallystick.channels.wire import Unreadable
from tallystick.compat.kadabra import scripts
from tallystick.compat.kadabra.entries import batch_of, text_of
from tallystick.contracts import ACCEPTED, WriteResult
from tallystick.errors import QueryError
from tallystick.processes import PerProcess
from tallystick.queries import Query, Series
from tallystick.records import Batch

ENTRIES: Final = 5_000
BATCH_BYTES: Final = 4 << 20
_OPTIONS: Final[dict[str, type]] = {
    "queue": str,
    "inprogress": str,
    "batch": int,
    "limit": int,
    "every_seconds": float,
    "frequency_seconds": float,
    "threshold_seconds": float,
    "lease_seconds": float,
    "whole": bool,
}


class ListChannel:
    """The two lists. As a target it takes records that are whole entries; as a source it gives metrics, or with `whole`
    such records."""

    inline: ClassVar[bool] = False
    takes_bytes = False
    lossy = False

    def __init__(self, url: ServerUrl) -> None:
        self._url = url
        self.queue: str = url.options.get("queue", "kadabra_queue")
        self.inprogress: str = url.options.get("inprogress", "kadabra_inprogress")
        self._whole = self.queue if url.options.get("whole") else None
        self._held: PerProcess[Any] = PerProcess(_close)

    @classmethod
    def from_url(cls, url: str) -> Self:
        return cls(read_url(url, default_port=6379, tls=url.startswith("kadabra+rediss:"), options=_OPTIONS))

    @property
    def address(self) -> str:
        where = f"{self._url.scheme}://{self._url.places[0]}/{self._url.name or '0'}"
        return f"{where}?queue={self.queue}&inprogress={self.inprogress}"

    @property
    def _redis(self) -> Any:
        return self._held.get() or self._held.put(connect(self._url))

    def open(self) -> None:
        with answers(self.address):
            self._redis.ping()

    def write(self, batch: Batch) -> WriteResult:
        rejected: dict[int, str] = {}
        pushed: list[Any] = []
        for index, record in enumerate(batch.records):
            try:
                pushed += [record.offset, text_of(record).encode()]
            except ValueError as error:
                rejected[index] = str(error)
        sent = f"{self.queue}:tallystick:{batch.segment}"
        with answers(self.address):
            self._redis.eval(scripts.SEND, 2, self.queue, sent, batch.start, batch.end, *pushed)
        return WriteResult(rejected) if rejected else ACCEPTED

    def query(self, query: Query) -> list[Series]:
        """Raises `QueryError`: a channel holds records on their way."""
        raise QueryError(f"{self.address} is a channel; ask the database that its agents deliver to")

    def close(self) -> None:
        self._held.close()

    def receiver(self, group: str) -> ListReceiver:
        return ListReceiver(self._url, self.address, self.queue, self.inprogress)

    def unpack(self, entry: Entry) -> Batch:
        """The batch in what the receiver gave."""
        identity, _, start = entry.id.rpartition("@")
        if not identity:
            raise Unreadable(f"the batch {entry.id!r:.60} has no place")
        return batch_of(identity, int(start), entry.payload.split(b"\n"), whole=self._whole)

    def waiting(self, group: str | None = None) -> Waiting:
        with answers(self.address):
            redis = self._redis
            count = redis.llen(self.queue) + redis.llen(self.inprogress)
        return Waiting(count, None if count else 0.0)

    def risks(self) -> list[Risk]:
        with answers(self.address):
            return server_risks(self._redis)


class ListReceiver:
    """One agent at the lists. An entry of the channel is a batch of the list's entries."""

    def __init__(self, url: ServerUrl, address: str, queue: str, inprogress: str) -> None:
        options = url.options
        self._url = url
        self._address = address
        self._keys = (queue, inprogress, f"{inprogress}:tallystick")
        self._me = secrets.token_hex(6)
        self._lease_ms = int(1000 * options.get("lease_seconds", LEASE_SECONDS))
        self._count = int(options.get("batch", ENTRIES))
        self._every = float(options.get("every_seconds", 0.0))
        self._frequency = float(options.get("frequency_seconds", 30.0))
        self._threshold = float(options.get("threshold_seconds", 60.0))
        self._limit = int(options.get("limit", ENTRIES))
        self._held: PerProcess[Any] = PerProcess(_close)
        self._next_turn = time.monotonic() + self._every
        self._next_look = 0.0
        self._seen: dict[bytes, float] = {}

    @property
    def _redis(self) -> Any:
        return self._held.get() or self._held.put(connect(self._url))

    def open(self) -> None:
        with answers(self._address):
            self._redis.ping()

    def receive(self, timeout_seconds: float) -> Entry | None:
        with answers(self._address):
            self._look()
            if time.monotonic() < self._next_turn:
                time.sleep(max(0.0, min(timeout_seconds, self._next_turn - time.monotonic())))
                return None
            found = self._take() or (self._take() if self._came(timeout_seconds) else None)
            if found is None:
                self._next_turn = time.monotonic() + self._every
            return found

    def _take(self) -> Entry | None:
        fresh = f"kadabra-{secrets.token_hex(10)}@0"
        found = self._redis.eval(
            scripts.TAKE, 3, *self._keys, fresh, self._me, self._lease_ms, self._count, BATCH_BYTES
        )
        if not found:
            return None
        identity, deliveries, entries = found
        payload = b"\n".join(entry.replace(b"\n", b" ") for entry in entries)
        return Entry(identity.decode(), payload, int(deliveries), identity)

    def _came(self, timeout_seconds: float) -> bool:
        """Whether something came in this time. Moving the last entry onto its own place waits and changes nothing."""
        if timeout_seconds <= 0:
            return False
        queue = self._keys[0]
        return self._redis.blmove(queue, queue, timeout_seconds, "RIGHT", "RIGHT") is not None

    def ack(self, entry: Entry) -> bool:
        with answers(self._address):
            return bool(self._redis.eval(scripts.ACK, 3, *self._keys, entry.token, self._me))

    def keep(self, entry: Entry) -> None:
        with answers(self._address):
            self._redis.eval(scripts.KEEP, 3, *self._keys, entry.token, self._me, self._lease_ms)

    def give_back(self, entry: Entry) -> None:
        self._redis.eval(scripts.GIVE_BACK, 3, *self._keys, entry.token, self._me)

    def tend(self) -> None:
        with answers(self._address):
            self._look()

    def _look(self) -> None:
        """Take over what was left in progress by others: what no batch of ours holds and has been there too long."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + min(self._frequency, self._threshold or self._frequency)
        left = list(self._left())
        self._seen = {entry: self._seen.get(entry, now) for entry in left}
        old = [entry for entry in left if now - self._seen[entry] >= self._threshold]
        if old:
            fresh = f"kadabra-{secrets.token_hex(10)}@0"
            self._redis.eval(scripts.ADOPT, 3, *self._keys, fresh, *old)

    def _left(self) -> Iterator[bytes]:
        """Entries in progress that no batch of ours holds, oldest first."""
        _, inprogress, leases = self._keys
        pipeline = self._redis.pipeline()  # a transaction: what stands in it is of one moment
        pipeline.lrange(inprogress, -self._limit, -1)
        pipeline.eval(scripts.HELD, 1, leases)
        there, held = pipeline.execute()
        ours = Counter(held)
        for entry in reversed(there):
            if ours[entry] > 0:
                ours[entry] -= 1
            else:
                yield entry

    def close(self) -> None:
        self._held.close()


def _close(redis: Any) -> None:
    with suppress(Exception):
        redis.close()
