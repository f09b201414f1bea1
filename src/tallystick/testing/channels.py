"""The contract of channels: what every broker between hosts must keep, on its real server.

class TestMyChannel(ChannelContract):
    def make_channel(self) -> Channel:
        return MyChannel.from_url(…)        # new and empty, its lease `self.lease_seconds`

    def put(self, channel: Channel, payload: bytes) -> None:
        …                                   # as any program that can reach the broker might
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import pytest

from tallystick.agent.agent import Agent
from tallystick.backends.base import Backend
from tallystick.backends.memory import MemoryBackend
from tallystick.backends.sqlite.backend import SqliteBackend
from tallystick.channels import wire
from tallystick.channels.base import Channel, Entry, Receiver
from tallystick.channels.source import DEATHS, ChannelSource
from tallystick.codec import Reader, encode_header, encode_line
from tallystick.contracts import ACCEPTED, Delivery
from tallystick.errors import TooLarge
from tallystick.queries import Query
from tallystick.records import Batch, Header, Record
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder

SOON_SECONDS: Final = 20.0
_numbers = itertools.count()


def batch_of(values: list[int], *, text: str = "", segment: str | None = None) -> Batch:
    """A batch as a spool has it: counters with these values, in a segment of their own."""
    header = Header(1, segment or f"segment-{os.getpid()}-{next(_numbers)}", "host-1", 4242, "shop", 1, {"env": "prod"})
    raw = b"".join(encode_line(time.time_ns(), "counter", "hits", value, {"text": text}) for value in values)
    return Batch.of(header, len(encode_header(header)), raw, Reader(header))


def values_of(records: Iterable[Record]) -> list[int]:
    return sorted(record.value for record in records if isinstance(record.value, int))


class ChannelContract:
    """One broker under test."""

    lease_seconds: ClassVar[float] = 1.0
    keeps_groups_apart: ClassVar[bool] = True
    """Whether each group gets every entry. False where the broker has one group, as a queue of jobs has."""

    keeps_copies: ClassVar[bool] = True
    """Whether a batch that is sent twice comes twice. False where the broker drops the second."""

    def make_channel(self) -> Channel:
        """A new, empty channel, not yet open, whose lease is `lease_seconds`."""
        raise NotImplementedError(f"{type(self).__qualname__} must define make_channel(self)")

    def reopen(self, channel: Channel) -> Channel:
        """A second handle to the same channel, as another host would have."""
        raise NotImplementedError(f"{type(self).__qualname__} must define reopen(self, channel)")

    def put(self, channel: Channel, payload: bytes) -> None:
        """Put these bytes into the broker, past our own code."""
        raise NotImplementedError(f"{type(self).__qualname__} must define put(self, channel, payload)")

    @pytest.fixture
    def channel(self) -> Iterator[Channel]:
        channel = self.make_channel()
        self.opened: list[Channel | Receiver | ChannelSource] = []
        self.receiver(channel).close()  # the group is there before anything is sent
        channel.open()
        yield channel
        for one in self.opened:
            with suppress(Exception):
                one.close(keep_notes=False) if isinstance(one, ChannelSource) else one.close()
        channel.close()

    def receiver(self, channel: Channel, group: str = "default") -> Receiver:
        receiver = channel.receiver(group)
        receiver.open()
        self.opened.append(receiver)
        return receiver

    def source(self, channel: Channel, folder: Folder) -> ChannelSource:
        source = ChannelSource(folder, DeadLetters(folder), self.reopen(channel), "default")
        self.opened.append(source)
        return source

    def next(self, receiver: Receiver) -> Entry:
        """The next entry; there must be one soon."""
        deadline = time.monotonic() + SOON_SECONDS
        while time.monotonic() < deadline:
            if (entry := receiver.receive(0.2)) is not None:
                return entry
        raise AssertionError(f"nothing came in {SOON_SECONDS} s")

    def agent(self, channel: Channel, folder: Folder, backend: Backend) -> Agent:
        return Agent(folder, lambda: self.source(channel, folder), backend)

    def deliver(self, channel: Channel, folder: Folder, backend: Backend, rows: int) -> None:
        """Run an agent until this many records are accounted for."""
        agent = self.agent(channel, folder, backend)
        agent.start()
        deadline = time.monotonic() + SOON_SECONDS
        while sum(account(folder).accepted.values()) < rows and time.monotonic() < deadline:
            time.sleep(0.02)
        assert agent.stop(5.0)

    # --- what travels ---

    def test_a_batch_keeps_its_place_and_its_bytes(self, channel: Channel) -> None:
        sent = batch_of([1, 2, 3], text="grüße\u2028")
        assert channel.write(sent) == ACCEPTED
        got = wire.unpack(self.next(self.receiver(channel)).payload)
        assert (got.header, got.start, got.end, got.raw) == (sent.header, sent.start, sent.end, sent.raw)

    def test_what_was_left_out_stays_left_out(self, channel: Channel) -> None:
        sent = batch_of([1, 2, 3]).only([0, 2])
        channel.write(sent)
        got = wire.unpack(self.next(self.receiver(channel)).payload)
        assert [record.value for record in got.records] == [1, 3]
        assert got.missing == sent.missing

    def test_entries_of_one_segment_come_in_order(self, channel: Channel) -> None:
        whole = batch_of(list(range(20)))
        rest = whole
        while len(rest) > 2:
            piece, rest = rest.split(2)
            channel.write(piece)
        channel.write(rest)
        receiver, starts = self.receiver(channel), list[int]()
        while len(starts) < 10:
            entry = self.next(receiver)
            starts.append(wire.unpack(entry.payload).start)
            receiver.ack(entry)
        assert starts == sorted(starts)

    # --- leases ---

    def test_what_was_acknowledged_never_comes_again(self, channel: Channel) -> None:
        channel.write(batch_of([1]))
        receiver = self.receiver(channel)
        assert receiver.ack(self.next(receiver))
        receiver.tend()
        receiver.close()
        time.sleep(1.5 * self.lease_seconds)  # the claim is that nothing happens
        other = self.receiver(self.reopen(channel))
        assert other.receive(0.5) is None
        other.close()

    def test_an_entry_of_a_dead_agent_goes_to_another(self, channel: Channel) -> None:
        channel.write(batch_of([7]))
        dead = self.receiver(channel)
        first = self.next(dead)
        other = self.receiver(self.reopen(channel))
        again = self.next(other)
        assert again.payload == first.payload
        assert again.deliveries == first.deliveries + 1
        other.ack(again)
        other.close()

    def test_an_entry_that_is_kept_goes_to_no_other(self, channel: Channel) -> None:
        first, second = self.receiver(channel), self.receiver(self.reopen(channel))
        assert first.receive(0.5) is second.receive(0.5) is None  # both have joined the group
        channel.write(batch_of([7]))
        holder, other, entry = first, second, None
        while entry is None:
            holder, other = first, second
            entry = holder.receive(0.2)
            if entry is None:
                holder, other = second, first
                entry = holder.receive(0.2)
        deadline = time.monotonic() + 2.5 * self.lease_seconds
        while time.monotonic() < deadline:
            holder.keep(entry)
            assert other.receive(0.1) is None
        assert holder.ack(entry)
        holder.close()
        other.close()

    def test_a_revived_agent_settles_nothing_of_others(self, channel: Channel) -> None:
        channel.write(batch_of([7]))
        stood_still = self.receiver(channel)
        entry = self.next(stood_still)
        other = self.receiver(self.reopen(channel))
        again = self.next(other)
        assert not stood_still.ack(entry)
        stood_still.keep(entry)
        assert other.ack(again)
        stood_still.close()
        other.close()

    def test_an_orderly_stop_gives_the_entry_back_at_once_and_accuses_nobody(self, channel: Channel) -> None:
        channel.write(batch_of([7]))
        for _ in range(5):
            receiver = self.receiver(self.reopen(channel))
            receiver.give_back(self.next(receiver))
            receiver.close()
        other = self.receiver(self.reopen(channel))
        again = self.next(other)
        assert again.deliveries < DEATHS
        other.ack(again)
        other.close()

    def test_each_group_gets_every_entry(self, channel: Channel) -> None:
        if not self.keeps_groups_apart:
            pytest.skip("this broker has one group")
        first, second = self.receiver(channel, "default"), self.receiver(channel, "search")
        channel.write(batch_of([1]))
        for receiver in (first, second):
            entry = self.next(receiver)
            assert receiver.ack(entry)
            receiver.tend()
            receiver.close()

    # --- end to end ---

    def test_one_row_a_record_after_any_redelivery(self, channel: Channel, tmp_path: Path) -> None:
        batch = batch_of(list(range(50)))
        channel.write(batch)
        channel.write(batch)
        channel.write(batch.split(20)[1])
        folder, backend = Folder(tmp_path, "far").open(), SqliteBackend(tmp_path / "far.db")
        self.deliver(channel, folder, backend, 130 if self.keeps_copies else 80)
        backend.open()
        assert [point[1] for point in backend.query(Query("hits", aggregate="count"))[0].points] == [50]
        backend.close()

    def test_a_batch_beyond_the_limit_is_split_and_arrives_whole(self, channel: Channel, tmp_path: Path) -> None:
        large, parts = batch_of(list(range(300)), text="x" * 60_000), 0
        waiting = [large]
        while waiting:
            part = waiting.pop()
            try:
                channel.write(part)
                parts += 1
            except TooLarge:
                waiting.extend(part.split(len(part) // 2)[::-1])
        assert parts > 1
        folder, backend = Folder(tmp_path, "far").open(), MemoryBackend()
        self.deliver(channel, folder, backend, 300)
        assert values_of(backend.records(Query())) == list(range(300))

    def test_a_batch_that_was_set_aside_comes_again_and_is_lost_by_nobody(
        self, channel: Channel, tmp_path: Path
    ) -> None:
        """Others go first where the broker gives an agent several at once."""
        for value in (1, 2):
            channel.write(batch_of([value]))
        source = self.source(channel, Folder(tmp_path, "far").open())
        source.set_aside(self.given(source))
        between = source.receive(100, 0.2)
        order = [1]
        if between is not None:
            source.settle(between, {})
            order = [*values_of(between.batch.records), 1]
        source.take_up()
        for _ in range(3 - len(order)):
            delivery = self.given(source)
            order += [] if values_of(delivery.batch.records) == [1] else values_of(delivery.batch.records)
            source.settle(delivery, {})
        assert sorted(order) == [1, 2]
        assert source.receive(100, 0.2) is None
        assert account(source.folder).imbalance() == {}

    def given(self, source: ChannelSource) -> Delivery:
        deadline = time.monotonic() + SOON_SECONDS
        while time.monotonic() < deadline:
            if (delivery := source.receive(100, 0.2)) is not None:
                return delivery
            source.tend(idle=True)
        raise AssertionError(f"nothing came in {SOON_SECONDS} s")

    # --- what is not ours ---

    def test_hostile_entries_become_dead_letters_and_stop_nothing(self, channel: Channel, tmp_path: Path) -> None:
        good = batch_of([1])
        packed = wire.pack(good)
        head = packed[: packed.index(b"\n") + 1]
        hostile = [
            b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
            b"",
            b"{}\n{}\n",
            b"\xff\xfe\n\xff\n",
            b'{"tallystick":99,"start":1}\n' + packed[len(head) :],
            b'{"tallystick":1,"start":-5}\n' + packed[len(head) :],
            b'{"tallystick":1,"start":1,"missing":[999999999]}\n' + packed[len(head) :],
            packed.replace(good.segment.encode(), b"../../etc/x"),
            packed[:-1],
            b'{"tallystick":1,"start":' + b"[" * 100_000,
            b'{"tallystick":1,"start":1,"size":500000000}\n',
        ]
        for payload in hostile:
            self.put(channel, payload)
        self.put(channel, packed + b"[" * 100_000 + b"\n" + b"\xff\xfe\n")  # two damaged lines beside a good one
        channel.write(batch_of([2]))
        folder, backend = Folder(tmp_path, "far").open(), MemoryBackend()
        self.deliver(channel, folder, backend, len(hostile) + 4)
        assert values_of(backend.records(Query())) == [1, 2]
        letters = DeadLetters(folder).state().letters
        assert len(letters) == len(hostile) + 2
        assert account(folder).imbalance() == {}

    def test_a_record_that_kills_agents_is_found_and_its_neighbours_are_delivered(
        self, channel: Channel, tmp_path: Path
    ) -> None:
        """Each death is another host: a receiver that takes the entry and is never seen again."""
        channel.write(batch_of([0, 1, 13, 3]))
        folder, backend = Folder(tmp_path, "far").open(), MemoryBackend()
        dead, deadline = DeadLetters(folder), time.monotonic() + 60 * self.lease_seconds
        while not dead.state().letters:
            assert time.monotonic() < deadline
            source = self.source(channel, folder)
            delivery = source.receive(100, 0.2)
            if delivery is None:
                source.close(keep_notes=True)
            elif any(record.value == 13 for record in delivery.batch.records):
                continue  # the host is gone, with what it had in hand
            else:
                backend.write(delivery.batch)
                source.settle(delivery, {})
                source.close(keep_notes=True)
        self.deliver(channel, folder, backend, 4)
        (letter,) = dead.state().letters.values()
        assert "quarantined" in letter.reason
        assert values_of(backend.records(Query())) == [0, 1, 3]

    # --- processes ---

    def test_nothing_crosses_a_fork(self, channel: Channel) -> None:
        channel.write(batch_of([1]))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                channel.write(batch_of([2]))
                channel.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        channel.write(batch_of([3]))
        receiver, values = self.receiver(channel), list[object]()
        while len(values) < 3:
            entry = self.next(receiver)
            values += [record.value for record in wire.unpack(entry.payload).records]
            receiver.ack(entry)
        assert set(values) == {1, 2, 3}
        receiver.close()
