"""Redis Streams: `redis://host:6379/0?stream=tallystick&group=default`, `rediss://` with TLS.

A batch is an entry of the stream, in the field `batch`. A group of agents is a consumer group.

Invariants
- The stream is trimmed to what every group has settled, never by length: `MAXLEN` would drop what nobody has read.
- Who may settle an entry is decided in the server (a script): its consumer is still the one that the server names.
  So an agent that stood still for longer than the lease neither acknowledges nor keeps what went to another.
- The lease is the entry's idle time in the server. No clock of ours decides.
- redis-py would block a caller for 59 s when a server hangs; every call here ends after `timeout_seconds` (5 s).
"""

from __future__ import annotations

import os
import secrets
import socket
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
FIELD: Final = b"batch"
LIMIT_BYTES: Final = 4 << 20
"""Larger entries hold up other users of the server; its own limit is 512 MB."""
CLAIM_SECONDS: Final = 1.0
TRIM_SECONDS: Final = 5.0
GONE_SECONDS: Final = 3600.0
"""A consumer that has nothing in hand and was idle for longer is removed."""

# KEYS: stream; ARGV: group, consumer, entry
_ACK: Final = """
local mine = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #mine == 0 or mine[1][2] ~= ARGV[2] then return 0 end
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
"""
_KEEP: Final = """
local mine = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #mine == 0 or mine[1][2] ~= ARGV[2] then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
return 1
"""
# … and then: milliseconds that make the entry idle for longer than any lease
_GIVE_BACK: Final = """
local mine = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #mine == 0 or mine[1][2] ~= ARGV[2] then return 0 end
local count = mine[1][4] - 1
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[4], 'RETRYCOUNT', count, 'JUSTID')
return 1
"""


class RedisChannel:
    """A stream of a Redis server, 6.2 or newer, or of what speaks its protocol (Valkey)."""

    takes_bytes = True
    lossy = False

    def __init__(self, url: ServerUrl) -> None:
        self._url = url
        self.stream: str = url.options.get("stream", "tallystick")
        self.group: str = url.options.get("group", "default")
        self._held: PerProcess[Any] = PerProcess(_close)

    @classmethod
    def from_url(cls, url: str) -> Self:
        tls = url.startswith("rediss:")
        options = {"stream": str, "group": str, "lease_seconds": float}
        return cls(read_url(url, default_port=6379, tls=tls, options=options))

    @property
    def address(self) -> str:
        return f"{self._url.scheme}://{self._url.places[0]}/{self._url.name or '0'}?stream={self.stream}"

    @property
    def _redis(self) -> Any:
        return self._held.get() or self._held.put(connect(self._url))

    def open(self) -> None:
        with answers(self.address):
            self._redis.ping()

    def write(self, batch: Batch) -> WriteResult:
        payload = wire.pack(batch)
        if len(payload) > LIMIT_BYTES:
            raise TooLarge(f"{self.address}: a batch of {len(payload):,} bytes; sent are at most {LIMIT_BYTES:,}")
        with answers(self.address):
            self._redis.xadd(self.stream, {FIELD: payload})
        return ACCEPTED

    def close(self) -> None:
        self._held.close()

    def receiver(self, group: str) -> RedisReceiver:
        return RedisReceiver(self._url, self.address, self.stream, group)

    def waiting(self, group: str | None = None) -> Waiting:
        """The entries that no trim has removed yet, that is, that some group has not settled."""
        self.open()
        with answers(self.address):
            first = self._redis.xrange(self.stream, count=1)
            entries = self._redis.xlen(self.stream)
            if group is not None and first:
                for found in self._redis.xinfo_groups(self.stream):
                    if _text(found["name"]) == group and found.get("lag") is not None:
                        entries = found["lag"] + found["pending"]
        if not first or not entries:
            return Waiting(0, None)
        made = int(first[0][0].split(b"-")[0]) / 1000
        return Waiting(entries, max(0.0, time.time() - made))

    def risks(self) -> list[Risk]:
        self.open()
        with answers(self.address):
            return server_risks(self._redis)


def server_risks(redis: Any) -> list[Risk]:
    """What the server's settings allow to be lost."""
    about = {name: redis.config_get(name).get(name, "") for name in ("appendonly", "appendfsync")}
    policy = redis.config_get("maxmemory-policy").get("maxmemory-policy", "")
    found = []
    if about["appendonly"] == "no":
        found.append(Risk("the server keeps no append-only file: a restart loses entries", "set appendonly yes"))
    elif about["appendfsync"] != "always":
        what = f"appendfsync is {about['appendfsync']}: a power failure can lose the last second"
        found.append(Risk(what, "set appendfsync always where that must not be"))
    if policy not in ("", "noeviction") and not policy.startswith("volatile"):
        found.append(Risk(f"maxmemory-policy is {policy}: the stream may be evicted", "set it to noeviction"))
    return found


class RedisReceiver:
    """One consumer of a consumer group."""

    holds_many = True

    def __init__(self, url: ServerUrl, address: str, stream: str, group: str) -> None:
        self._url = url
        self._address = address
        self._stream = stream
        self._group = group
        self.consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._lease_seconds = float(url.options.get("lease_seconds", LEASE_SECONDS))
        self._held: PerProcess[Any] = PerProcess(_close)
        self._next_claim = self._next_trim = 0.0

    @property
    def _redis(self) -> Any:
        return self._held.get() or self._held.put(connect(self._url))

    def open(self) -> None:
        with answers(self._address):
            try:
                self._redis.xgroup_create(self._stream, self._group, id="0", mkstream=True)
            except _redis().ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    def receive(self, timeout_seconds: float) -> Entry | None:
        with answers(self._address):
            return self._left_behind() or self._new(timeout_seconds)

    def _left_behind(self) -> Entry | None:
        if time.monotonic() < self._next_claim:
            return None
        idle = int(self._lease_seconds * 1000)
        found = self._redis.xautoclaim(self._stream, self._group, self.consumer, idle, "0-0", count=1)[1]
        if not found:
            self._next_claim = time.monotonic() + CLAIM_SECONDS
            return None
        identity, fields = found[0]
        about = self._redis.xpending_range(self._stream, self._group, identity, identity, 1)
        return self._entry(identity, fields, about[0]["times_delivered"] if about else 1)

    def _new(self, timeout_seconds: float) -> Entry | None:
        block = int(timeout_seconds * 1000) or None  # 0 would mean for ever
        answer = self._redis.xreadgroup(self._group, self.consumer, {self._stream: ">"}, count=1, block=block)
        streams = list(answer.values() if isinstance(answer, dict) else (entries for _, entries in answer or ()))
        for entries in streams:
            for identity, fields in entries[0] if entries and isinstance(entries[0], list) else entries:
                return self._entry(identity, fields, 1)
        return None

    def _entry(self, identity: bytes, fields: dict[bytes, bytes], deliveries: int) -> Entry:
        payload = fields.get(FIELD)
        if payload is None:  # written by something else; its bytes are kept in the dead letter
            payload = repr(fields).encode()
        return Entry(identity.decode(), payload, deliveries, identity)

    def ack(self, entry: Entry) -> bool:
        with answers(self._address):
            return bool(self._redis.eval(_ACK, 1, self._stream, self._group, self.consumer, entry.token))

    def keep(self, entry: Entry) -> None:
        with answers(self._address):
            self._redis.eval(_KEEP, 1, self._stream, self._group, self.consumer, entry.token)

    def give_back(self, entry: Entry) -> None:
        day = 86_400_000
        self._redis.eval(_GIVE_BACK, 1, self._stream, self._group, self.consumer, entry.token, day)

    def tend(self) -> None:
        if time.monotonic() >= self._next_trim:
            self._next_trim = time.monotonic() + TRIM_SECONDS
            with answers(self._address):
                self._trim()

    def _trim(self) -> None:
        """Remove the entries that every group has settled, and this group's consumers that are long gone."""
        settled = []
        for group in self._redis.xinfo_groups(self._stream):
            first = self._redis.xpending(self._stream, group["name"])["min"] if group["pending"] else None
            settled.append(_place(first) if first else _after(group["last-delivered-id"]))
        if settled:
            milliseconds, number = min(settled)
            self._redis.xtrim(self._stream, minid=f"{milliseconds}-{number}", approximate=False)
        for found in self._redis.xinfo_consumers(self._stream, self._group):
            if not found["pending"] and found["idle"] > GONE_SECONDS * 1000:
                self._redis.xgroup_delconsumer(self._stream, self._group, found["name"])

    def close(self) -> None:
        self._held.close()


def connect(url: ServerUrl) -> Any:
    """A client that gives up on each call after the URL's timeout and tries nothing again by itself."""
    redis, options = _redis(), url.options
    seconds = float(options.get("timeout_seconds", TIMEOUT_SECONDS))
    host, port = url.hosts[0]
    tls: dict[str, Any] = {}
    if url.scheme.endswith("rediss"):
        tls = {
            "ssl": True,
            "ssl_ca_certs": options.get("ca_file"),
            "ssl_certfile": options.get("cert_file"),
            "ssl_keyfile": options.get("key_file"),
            "ssl_cert_reqs": "none" if options.get("insecure_tls") else "required",
            "ssl_check_hostname": not options.get("insecure_tls"),
        }
    return redis.Redis(
        host=host,
        port=port,
        db=int(url.name or 0),
        username=url.user,
        password=url.password.reveal() if url.password else None,
        socket_timeout=seconds,
        socket_connect_timeout=float(options.get("connect_timeout_seconds", min(3.0, seconds))),
        retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        client_name="tallystick",
        **tls,
    )


@contextmanager
def answers(address: str) -> Iterator[None]:
    """The driver's errors as the library's: nothing that Redis says rejects a record."""
    redis = _redis()
    try:
        yield
    except redis.AuthenticationError as error:
        raise Misconfigured(f"{address}: {error}; correct user and password") from error
    except redis.ResponseError as error:
        text = str(error)
        if text.startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
            raise Misconfigured(f"{address}: {text}; correct user and password, or grant the right") from error
        if text.startswith("WRONGTYPE"):
            raise Misconfigured(f"{address}: the key is not a stream; name another with ?stream=") from error
        raise Unavailable(f"{address}: {text}") from error
    except redis.RedisError as error:
        raise Unavailable(f"{address}: {type(error).__name__}: {error}") from error


def _redis() -> Any:
    try:
        import redis
        import redis.backoff
        import redis.retry
    except ImportError as error:
        raise missing_extra("redis", error) from error
    return redis


def _close(redis: Any) -> None:
    with suppress(Exception):
        redis.close()


def _place(identity: bytes) -> tuple[int, int]:
    milliseconds, number = identity.split(b"-")
    return int(milliseconds), int(number)


def _after(identity: bytes) -> tuple[int, int]:
    milliseconds, number = _place(identity)
    return milliseconds, number + 1


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
