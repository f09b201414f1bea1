"""NATS JetStream: `nats://host:4222?stream=tallystick&group=default`, `nats+tls://` with TLS.

A batch is a message of the stream; a group of agents is a durable pull consumer.

Invariants
- The stream keeps what some consumer has not settled (limits retention), and is purged up to what all have settled.
  Interest retention would drop what is sent before the first consumer is made.
- `Nats-Msg-Id` is a digest of the message, so a batch that is sent again at once is stored once.
- The lease is the server's ack wait, and `keep` is its in-progress acknowledgement. The server takes an acknowledgement
  from an agent that stood still, so such an agent does not send one: the database has its rows, and so has the other's.
- The driver is asynchronous. Its loop runs inside each call, in the caller's thread, and every call has a time limit.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Self, TypeVar

from tallystick.backends._url import ServerUrl, read_url, tls_context
from tallystick.channels import wire
from tallystick.channels.base import LEASE_SECONDS, Entry, Risk, Waiting
from tallystick.contracts import ACCEPTED, WriteResult
from tallystick.errors import Misconfigured, TooLarge, Unavailable
from tallystick.plugins import missing_extra
from tallystick.processes import PerProcess
from tallystick.records import Batch

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 5.0
PURGE_SECONDS: Final = 5.0
_OPTIONS: Final = {"stream": str, "group": str, "lease_seconds": float}


class _Client:
    """A connection and the loop that drives it."""

    def __init__(self, url: ServerUrl) -> None:
        self._nats = _nats()
        self._seconds = float(url.options.get("timeout_seconds", TIMEOUT_SECONDS))
        self._loop = asyncio.new_event_loop()
        tls: dict[str, Any] = {}
        if url.scheme.endswith("tls"):
            tls = {"tls": tls_context(url.options), "tls_handshake_first": False}
        if url.user is not None:
            tls |= {"user": url.user, "password": url.password.reveal() if url.password else ""}
        elif url.password is not None:
            tls |= {"token": url.password.reveal()}
        connection = self._nats.connect(
            [f"nats://{place}" for place in url.places],
            name="tallystick",
            allow_reconnect=False,
            connect_timeout=float(url.options.get("connect_timeout_seconds", min(3.0, self._seconds))),
            error_cb=_said_elsewhere,
            **tls,
        )
        try:
            self.connection = self.run(connection)
        except BaseException:
            self._loop.close()
            raise
        self.stream = self.connection.jetstream(timeout=self._seconds)

    def run(self, coroutine: Coroutine[Any, Any, T], more_seconds: float = 0.0) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, self._seconds + more_seconds))

    def close(self) -> None:
        with suppress(Exception):
            self.run(self.connection.close())
        with suppress(Exception):
            self._loop.close()


async def _said_elsewhere(error: Exception) -> None:
    """The call that fails raises the error; the driver would log a traceback besides."""


class _End:
    """What both ends share: the connection, and the stream's name."""

    def __init__(self, url: ServerUrl) -> None:
        self._url = url
        self._name: str = url.options.get("stream", "tallystick")
        self._held: PerProcess[_Client] = PerProcess(_Client.close)

    @property
    def address(self) -> str:
        return f"{self._url.scheme}://{self._url.places[0]}?stream={self._name}"

    @property
    def _subject(self) -> str:
        return f"{self._name}.batch"

    @property
    def _client(self) -> _Client:
        client = self._held.get()
        if client is None or not client.connection.is_connected:
            client = self._held.put(_Client(self._url))
        return client

    def open(self) -> None:
        with answers(self.address):
            self._make_stream()

    def _make_stream(self) -> None:
        client = self._client
        errors = _nats().js.errors
        try:
            client.run(client.stream.stream_info(self._name))
        except errors.NotFoundError:
            client.run(client.stream.add_stream(name=self._name, subjects=[self._subject], discard="new"))

    def close(self) -> None:
        self._held.close()


class NatsChannel(_End):
    """A JetStream stream of a NATS server, 2.2 or newer."""

    takes_bytes = True
    lossy = False

    @classmethod
    def from_url(cls, url: str) -> Self:
        return cls(read_url(url, default_port=4222, tls=url.startswith("nats+tls:"), options=_OPTIONS))

    def write(self, batch: Batch) -> WriteResult:
        payload = wire.pack(batch)
        with answers(self.address):
            client = self._client
            limit = client.connection.max_payload - 1024  # the headers count, too
            if len(payload) > limit:
                raise TooLarge(f"{self.address}: a batch of {len(payload):,} bytes; the server takes {limit:,}")
            identity = hashlib.blake2b(payload, digest_size=16).hexdigest()
            client.run(client.stream.publish(self._subject, payload, headers={"Nats-Msg-Id": identity}))
        return ACCEPTED

    def receiver(self, group: str) -> NatsReceiver:
        return NatsReceiver(self._url, group)

    def waiting(self, group: str | None = None) -> Waiting:
        with answers(self.address):
            client = self._client
            state = client.run(client.stream.stream_info(self._name)).state
            if group is not None:
                consumer = client.run(client.stream.consumer_info(self._name, group))
                entries = (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)
                return Waiting(entries, None if entries else 0.0)
        return Waiting(state.messages, None)

    def risks(self) -> list[Risk]:
        with answers(self.address):
            client = self._client
            about = client.run(client.stream.stream_info(self._name)).config
        found = [
            Risk(
                "the server writes to the disk every two minutes unless its sync_interval says otherwise",
                "set jetstream { sync_interval: always } where a power failure must lose nothing",
            )
        ]
        if (about.num_replicas or 1) < 2:
            found.append(Risk("the stream has one replica: it is lost with its disk", "add replicas to the stream"))
        if str(about.storage).endswith("memory"):
            found.append(Risk("the stream is in memory: a restart loses it", "make the stream with file storage"))
        return found


class NatsReceiver(_End):
    """One subscriber of a durable pull consumer."""

    holds_many = True

    def __init__(self, url: ServerUrl, group: str) -> None:
        super().__init__(url)
        self._group = group
        self._lease_seconds = float(url.options.get("lease_seconds", LEASE_SECONDS))
        self._kept = 0.0
        self._next_purge = 0.0
        self._subscription: tuple[_Client, Any] | None = None

    def open(self) -> None:
        with answers(self.address):
            self._make_stream()
            self._subscribed(self._client)

    def _subscribed(self, client: _Client) -> Any:
        if self._subscription is None or self._subscription[0] is not client:
            api = _nats().js.api
            about = api.ConsumerConfig(
                ack_policy=api.AckPolicy.EXPLICIT,
                deliver_policy=api.DeliverPolicy.ALL,
                ack_wait=self._lease_seconds,
                max_deliver=-1,
            )
            made = client.stream.pull_subscribe(self._subject, durable=self._group, stream=self._name, config=about)
            self._subscription = client, client.run(made)
        return self._subscription[1]

    def receive(self, timeout_seconds: float) -> Entry | None:
        with answers(self.address):
            client = self._client
            seconds = max(0.05, timeout_seconds)
            try:
                (message,) = client.run(self._subscribed(client).fetch(1, timeout=seconds), seconds)
            except (TimeoutError, _nats().errors.TimeoutError):
                return None
        self._kept = time.monotonic()
        about = message.metadata
        return Entry(str(about.sequence.stream), message.data, about.num_delivered or 1, message)

    def _ours(self) -> bool:
        return time.monotonic() - self._kept < self._lease_seconds

    def ack(self, entry: Entry) -> bool:
        if not self._ours():
            return False
        with answers(self.address):
            self._client.run(entry.token.ack_sync(timeout=TIMEOUT_SECONDS))
        return True

    def keep(self, entry: Entry) -> None:
        if self._ours():
            with answers(self.address):
                self._client.run(entry.token.in_progress())
                self._client.run(self._client.connection.flush())
            self._kept = time.monotonic()

    def give_back(self, entry: Entry) -> None:
        """The server counts this delivery; sent again as a new message, the count begins anew before it accuses."""
        if not self._ours():
            return
        client = self._client
        if entry.deliveries > 1:
            client.run(client.stream.publish(self._subject, entry.payload))
            client.run(entry.token.ack_sync(timeout=TIMEOUT_SECONDS))
        else:
            client.run(entry.token.nak())
            client.run(client.connection.flush())

    def tend(self) -> None:
        if time.monotonic() >= self._next_purge:
            self._next_purge = time.monotonic() + PURGE_SECONDS
            with answers(self.address):
                self._purge()

    def _purge(self) -> None:
        """Remove the messages that every consumer has settled."""
        client = self._client
        consumers = client.run(client.stream.consumers_info(self._name))
        settled = min((one.ack_floor.stream_seq for one in consumers if one.ack_floor), default=0)
        if settled:
            client.run(client.stream.purge_stream(self._name, seq=settled + 1))


@contextmanager
def answers(address: str) -> Iterator[None]:
    """The driver's errors as the library's."""
    nats = _nats()
    try:
        yield
    except (nats.errors.AuthorizationError, nats.js.errors.ServiceUnavailableError) as error:
        remedy = "correct user and password, and switch JetStream on (nats-server -js)"
        raise Misconfigured(f"{address}: {error}; {remedy}") from error
    except nats.errors.MaxPayloadError as error:
        raise TooLarge(f"{address}: {error}") from error
    except (nats.errors.Error, OSError, TimeoutError, asyncio.CancelledError, ValueError) as error:
        raise Unavailable(f"{address}: {type(error).__name__}: {error}") from error


def _nats() -> Any:
    try:
        import nats
        import nats.js.api
        import nats.js.errors
    except ImportError as error:
        raise missing_extra("nats", error) from error
    return nats
