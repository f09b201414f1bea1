"""Kafka: `kafka://host:9092,other:9092?topic=tallystick&group=default`, `kafka+tls://` with TLS.

A batch is a message whose key is its segment, so one segment stays in one partition and in order. A group of agents is
a consumer group.

Invariants
- The producer is idempotent and waits for all replicas (`acks=all`).
- An offset is committed when its batch is settled, never before. The broker refuses the commit of an agent whose
  partition went to another, so an agent that stood still settles nothing of others.
- The lease is the group's session. While a database is slow, `keep` polls with the partitions paused, so the session
  lives and a rebalance is noticed; what was not settled is received again by the partition's next owner.
- Kafka counts no deliveries. So the count travels in the metadata of the committed offset, written before a batch is
  handed out.
- librdkafka tries again for minutes by itself; here each call has a limit (`timeout_seconds`, 5 s).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Self

from tallystick.backends._url import ServerUrl, read_url
from tallystick.channels import wire
from tallystick.channels.base import LEASE_SECONDS, Entry, Risk, Waiting
from tallystick.contracts import ACCEPTED, WriteResult
from tallystick.errors import Misconfigured, TooLarge, Unavailable
from tallystick.plugins import missing_extra
from tallystick.processes import PerProcess
from tallystick.records import Batch

TIMEOUT_SECONDS: Final = 5.0
LIMIT_BYTES: Final = 1_000_000
"""What a broker takes as long as nobody changed its `message.max.bytes`, less the framing."""
PARTITIONS: Final = 4
_OPTIONS: Final = {
    "topic": str,
    "group": str,
    "lease_seconds": float,
    "partitions": int,
    "max_bytes": int,
    "sasl": str,
}


class KafkaChannel:
    """A topic of a Kafka cluster, or of what speaks its protocol (Redpanda)."""

    takes_bytes = True
    lossy = False

    def __init__(self, url: ServerUrl) -> None:
        self._url = url
        self.topic: str = url.options.get("topic", "tallystick")
        self._limit = int(url.options.get("max_bytes", LIMIT_BYTES))
        self._held: PerProcess[Any] = PerProcess(_drop)

    @classmethod
    def from_url(cls, url: str) -> Self:
        return cls(read_url(url, default_port=9092, tls=url.startswith("kafka+tls:"), options=_OPTIONS))

    @property
    def address(self) -> str:
        return f"{self._url.scheme}://{','.join(self._url.places)}?topic={self.topic}"

    @property
    def _producer(self) -> Any:
        return self._held.get() or self._held.put(self._made())

    def _made(self) -> Any:
        return _kafka().Producer(
            {
                **common(self._url),
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 0,
                "message.max.bytes": self._limit + 10_000,
                "message.timeout.ms": int(_seconds(self._url) * 1000),
            }
        )

    def open(self) -> None:
        with answers(self.address):
            make_topic(self._url, self.topic)

    def write(self, batch: Batch) -> WriteResult:
        payload = wire.pack(batch)
        if len(payload) > self._limit:
            raise TooLarge(f"{self.address}: a batch of {len(payload):,} bytes; sent are at most {self._limit:,}")
        outcome: list[Any] = []
        with answers(self.address):
            producer = self._producer
            producer.produce(
                self.topic, payload, key=batch.segment.encode(), on_delivery=lambda error, _: outcome.append(error)
            )
            producer.flush(_seconds(self._url) + 1.0)
        error: Any = outcome[0] if outcome else "no answer in time"
        if error is None:
            return ACCEPTED
        self._held.close()  # what it still holds must not be sent behind our back
        if outcome and error.code() == _kafka().KafkaError.MSG_SIZE_TOO_LARGE:
            raise TooLarge(f"{self.address}: {error}; the broker's limit is message.max.bytes")
        raise Unavailable(f"{self.address}: {error}")

    def close(self) -> None:
        self._held.close()

    def receiver(self, group: str) -> KafkaReceiver:
        return KafkaReceiver(self._url, self.address, self.topic, group)

    def waiting(self, group: str | None = None) -> Waiting:
        kafka, seconds = _kafka(), _seconds(self._url)
        with answers(self.address):
            consumer = kafka.Consumer({**common(self._url), "group.id": group or "tallystick-status"})
            try:
                known = consumer.list_topics(self.topic, timeout=seconds).topics[self.topic].partitions
                places = [kafka.TopicPartition(self.topic, number) for number in known]
                entries = 0
                for place in consumer.committed(places, timeout=seconds):
                    low, high = consumer.get_watermark_offsets(place, timeout=seconds)
                    entries += high - (place.offset if place.offset >= 0 else low)
            finally:
                consumer.close()
        return Waiting(entries, None if entries else 0.0)

    def risks(self) -> list[Risk]:
        with answers(self.address):
            about = _admin(self._url).list_topics(self.topic, timeout=_seconds(self._url)).topics[self.topic]
        replicas = min((len(one.replicas) for one in about.partitions.values()), default=0)
        if replicas >= 2:
            return []
        return [
            Risk("the topic has one replica: it is lost with its broker", "give it replicas, and min.insync.replicas 2")
        ]


class KafkaReceiver:
    """One member of a consumer group. It holds one message at a time."""

    def __init__(self, url: ServerUrl, address: str, topic: str, group: str) -> None:
        self._url = url
        self._address = address
        self._topic = topic
        self._group = group
        self._lease_seconds = float(url.options.get("lease_seconds", LEASE_SECONDS))
        self._held: PerProcess[Any] = PerProcess(_leave)
        self._in_hand: Any = None
        self._lost = False
        self._looked: set[int] = set()
        """Partitions whose committed count was read since they were given to us."""

    @property
    def _consumer(self) -> Any:
        return self._held.get() or self._held.put(self._made())

    def _made(self) -> Any:
        lease = int(self._lease_seconds * 1000)
        consumer = _kafka().Consumer(
            {
                **common(self._url),
                "group.id": self._group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": lease,
                "max.poll.interval.ms": lease,
                "heartbeat.interval.ms": max(50, lease // 5),
                "partition.assignment.strategy": "cooperative-sticky",
                "fetch.wait.max.ms": 100,
                "queued.min.messages": 1,
                "queued.max.messages.kbytes": 4096,
                "topic.metadata.refresh.interval.ms": 10_000,
            }
        )
        consumer.subscribe([self._topic], on_assign=self._given, on_revoke=self._taken, on_lost=self._taken)
        return consumer

    def _given(self, _: Any, places: list[Any]) -> None:
        self._looked.difference_update(place.partition for place in places)

    def _taken(self, _: Any, places: list[Any]) -> None:
        if self._in_hand is not None and self._in_hand.partition() in {place.partition for place in places}:
            self._lost = True

    def open(self) -> None:
        with answers(self._address):
            make_topic(self._url, self._topic)
            assert self._consumer is not None  # joins the group

    def receive(self, timeout_seconds: float) -> Entry | None:
        with answers(self._address):
            self._forget()
            message = self._consumer.poll(max(0.05, timeout_seconds))
            if message is None:
                return None
            if message.error() is not None:
                if message.error().code() == _kafka().KafkaError._MAX_POLL_EXCEEDED:
                    return None  # this agent stood still for longer than the lease; the next poll joins the group again
                raise _kafka().KafkaException(message.error())
            self._in_hand, self._lost = message, False
            deliveries = self._deliveries_before(message) + 1
            if not self._note(message, message.offset(), str(deliveries)):
                self._in_hand = None
                return None
        return Entry(f"{message.partition()}-{message.offset()}", message.value() or b"", deliveries, message)

    def _forget(self) -> None:
        """What is still in hand was not settled: it comes again, in its place."""
        message, self._in_hand = self._in_hand, None
        if message is not None and not self._lost:
            place = _kafka().TopicPartition(self._topic, message.partition(), message.offset())
            with suppress(_kafka().KafkaException):
                self._consumer.resume([place])
                self._consumer.seek(place)
            self._looked.discard(message.partition())

    def _deliveries_before(self, message: Any) -> int:
        if message.partition() in self._looked:
            return 0
        self._looked.add(message.partition())
        place = _kafka().TopicPartition(self._topic, message.partition())
        (found,) = self._consumer.committed([place], timeout=_seconds(self._url))
        return int(found.metadata or 0) if found.offset == message.offset() else 0

    def _note(self, message: Any, offset: int, metadata: str = "") -> bool:
        """Commit this offset of the message's partition; False when the partition is another agent's by now."""
        if self._lost:
            return False
        kafka = _kafka()
        place = kafka.TopicPartition(self._topic, message.partition(), offset, metadata)
        try:
            self._consumer.commit(offsets=[place], asynchronous=False)
        except kafka.KafkaException as error:
            if error.args[0].code() in _not_ours():
                return False
            raise
        return True

    def ack(self, entry: Entry) -> bool:
        with answers(self._address):
            done = self._note(entry.token, entry.token.offset() + 1)
            if not self._lost:
                self._consumer.resume([_kafka().TopicPartition(self._topic, entry.token.partition())])
        if entry.token is self._in_hand:
            self._in_hand = None
        return done

    def keep(self, entry: Entry) -> None:
        with answers(self._address):
            consumer = self._consumer
            consumer.pause(consumer.assignment())
            message = consumer.poll(0)
            if message is not None and message.error() is None:  # of a partition that was given to us just now
                consumer.seek(_kafka().TopicPartition(self._topic, message.partition(), message.offset()))

    def give_back(self, entry: Entry) -> None:
        self._note(entry.token, entry.token.offset(), str(entry.deliveries - 1))

    def tend(self) -> None:
        """Kafka removes by its own retention."""

    def close(self) -> None:
        self._held.close()


def common(url: ServerUrl) -> dict[str, Any]:
    options = url.options
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(url.places),
        "client.id": "tallystick",
        "socket.timeout.ms": int(_seconds(url) * 1000),
        "socket.connection.setup.timeout.ms": int(
            1000 * max(1.0, options.get("connect_timeout_seconds", min(3.0, _seconds(url))))
        ),
        "reconnect.backoff.max.ms": 1000,
        "log_level": 0,
        "error_cb": _said_elsewhere,
    }
    encrypted = url.scheme.endswith("tls")
    if encrypted:
        found["ssl.endpoint.identification.algorithm"] = "none" if options.get("insecure_tls") else "https"
        found["enable.ssl.certificate.verification"] = not options.get("insecure_tls")
        names = {
            "ca_file": "ssl.ca.location",
            "cert_file": "ssl.certificate.location",
            "key_file": "ssl.key.location",
        }
        found |= {name: options[option] for option, name in names.items() if option in options}
    if url.user is not None:
        found |= {
            "sasl.mechanism": options.get("sasl", "SCRAM-SHA-512" if encrypted else "PLAIN"),
            "sasl.username": url.user,
            "sasl.password": url.password.reveal() if url.password else "",
        }
    found["security.protocol"] = f"{'SASL_' if url.user is not None else ''}{'SSL' if encrypted else 'PLAINTEXT'}"
    return found


def _said_elsewhere(_: Any) -> None:
    """The call that fails raises the error; the driver would log each try besides."""


def make_topic(url: ServerUrl, topic: str) -> None:
    """Make the topic when it is missing."""
    kafka, admin, seconds = _kafka(), _admin(url), _seconds(url)
    if topic in admin.list_topics(timeout=seconds).topics:
        return
    import confluent_kafka.admin

    admin_room: Any = confluent_kafka.admin
    wanted = admin_room.NewTopic(topic, num_partitions=int(url.options.get("partitions", PARTITIONS)))
    (made,) = admin.create_topics([wanted], operation_timeout=seconds, request_timeout=seconds).values()
    try:
        made.result(seconds)
    except kafka.KafkaException as error:
        if error.args[0].code() != kafka.KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    deadline = time.monotonic() + seconds
    while topic not in admin.list_topics(timeout=seconds).topics and time.monotonic() < deadline:
        time.sleep(0.05)  # the broker knows it a moment later


def _admin(url: ServerUrl) -> Any:
    from confluent_kafka.admin import AdminClient

    return AdminClient(common(url))


def _not_ours() -> set[int]:
    errors = _kafka().KafkaError
    return {
        errors.ILLEGAL_GENERATION,
        errors.UNKNOWN_MEMBER_ID,
        errors.REBALANCE_IN_PROGRESS,
        errors.FENCED_INSTANCE_ID,
        errors._STATE,
        errors._ASSIGNMENT_LOST,
        errors._NO_OFFSET,
    }


@contextmanager
def answers(address: str) -> Iterator[None]:
    """The driver's errors as the library's."""
    kafka = _kafka()
    try:
        yield
    except kafka.KafkaException as error:
        found = error.args[0]
        errors = kafka.KafkaError
        act = {
            errors.TOPIC_AUTHORIZATION_FAILED: "grant this user the topic",
            errors.GROUP_AUTHORIZATION_FAILED: "grant this user the group",
            errors.CLUSTER_AUTHORIZATION_FAILED: "grant this user the right to write idempotently",
            errors.SASL_AUTHENTICATION_FAILED: "correct user and password, or sasl=",
            errors._AUTHENTICATION: "correct user and password, or sasl=",
            errors.INVALID_SESSION_TIMEOUT: "the group's session must be at least the broker's"
            " group.min.session.timeout.ms; give ?lease_seconds=",
        }
        if (remedy := act.get(found.code())) is not None:
            raise Misconfigured(f"{address}: {found}; {remedy}") from error
        raise Unavailable(f"{address}: {found}") from error
    except (BufferError, RuntimeError, TimeoutError) as error:
        raise Unavailable(f"{address}: {type(error).__name__}: {error}") from error


def _kafka() -> Any:
    try:
        import confluent_kafka
    except ImportError as error:
        raise missing_extra("kafka", error) from error
    return confluent_kafka


def _seconds(url: ServerUrl) -> float:
    return float(url.options.get("timeout_seconds", TIMEOUT_SECONDS))


def _drop(producer: Any) -> None:
    with suppress(Exception):
        producer.purge()
        producer.flush(0.5)


def _leave(consumer: Any) -> None:
    with suppress(Exception):
        consumer.close()
