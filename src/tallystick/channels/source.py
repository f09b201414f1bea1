"""The receiving end of a channel as the agent's source: books, dead letters and quarantine, the same for each broker.

The delivery host has a pipeline folder for each channel that it reads. Its books say
`received = delivered + pending + dead`, where pending is the one batch that an agent has in hand.

Invariants
- An entry is acknowledged when its dead letters and counts are written down, never before. Killed in between, this host
  finds its own note (`settling`) at the redelivery and acknowledges without delivering or counting again.
- What cannot be read is a dead letter with its bytes, cut at 64 KiB, and stops nothing.
- What is set aside stays ours: its lease is extended. Where the broker gives an agent several entries at once, others
  go first, and up to `ASIDE` are set aside; else it waits in its place.
- A record that kills agents is found through the broker, since each may die on another host: an entry at its third
  delivery is cut into pieces that are sent back, and a single record that has come three times before is quarantined.
  Pieces keep their places, so cutting an innocent entry costs nothing.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Final

from tallystick.channels.base import Channel, Entry, Receiver
from tallystick.channels.wire import Unreadable, unpack
from tallystick.codec import FORMAT
from tallystick.contracts import Delivery
from tallystick.errors import Unavailable
from tallystick.records import Batch, Header
from tallystick.spool.dead import DeadLetter, DeadLetters, letter
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.retries import Retries

logger = logging.getLogger("tallystick.channel")

DEATHS: Final = 3
PIECES: Final = 64
LETTER_BYTES: Final = 1 << 16
ASIDE: Final = 8


class ChannelSource:
    """Batches out of one group of a channel, for the agent that is elected for `folder`."""

    def __init__(self, folder: Folder, dead: DeadLetters, channel: Channel, group: str) -> None:
        self.folder = folder
        self.dead = dead
        self._channel = channel
        self._unpack = getattr(channel, "unpack", None)
        self._receiver: Receiver = channel.receiver(group)
        self._books = Positions(folder)
        self._retries = Retries(dead)
        self._in_hand: Entry | None = None
        self._aside: list[Entry] = []
        self._taken_up: list[Entry] = []
        self._open = False

    def receive(self, limit_records: int, timeout_seconds: float) -> Delivery | None:
        """A dead letter to retry, else the next entry's batch. An entry is a batch whatever `limit_records` says."""
        if (again := self._retries.receive()) is not None:
            return again
        while (entry := self._entry(timeout_seconds)) is not None:
            self._in_hand = entry
            if (delivery := self._delivery_of(entry)) is not None:
                return delivery
        return None

    def _entry(self, timeout_seconds: float) -> Entry | None:
        if self._taken_up:
            return self._taken_up.pop(0)
        if len(self._aside) >= (ASIDE if getattr(self._receiver, "holds_many", False) else 1):
            return None
        return self._next(timeout_seconds)

    def _delivery_of(self, entry: Entry) -> Delivery | None:
        """None when the entry is done with already."""
        try:
            batch = unpack(entry.payload) if self._unpack is None else self._unpack(entry)
        except Unreadable as error:
            self._refuse(entry, str(error))
            return None
        assert batch.records is not None  # decoded now: damaged lines are missing from the range
        note = _note(batch)
        if self._books.at.get(note) == batch.end:  # killed between the count and the acknowledgement
            self._acknowledge(entry, note)
        elif (
            self._unpack is not None
        ):  # its entries are not ours to cut; the note `attempt` of this host finds the record
            return Delivery(batch, entry)
        elif entry.deliveries > DEATHS and len(batch) == 1:
            reason = f"quarantined: {entry.deliveries - 1} agents died delivering this record; fix the cause, retry it"
            self.settle(Delivery(batch, entry), {0: reason})
        elif entry.deliveries >= DEATHS and len(batch) > 1:
            self._cut(entry, batch)
        else:
            return Delivery(batch, entry)
        return None

    def _next(self, timeout_seconds: float) -> Entry | None:
        try:
            if not self._open:
                self._receiver.open()
                self._open = True
            return self._receiver.receive(timeout_seconds)
        except (Unavailable, ConnectionError, TimeoutError) as error:
            self._open = False
            raise Unavailable(f"{self._channel.address} does not answer: {error}") from error

    def settle(self, delivery: Delivery, rejected: Mapping[int, str]) -> None:
        if isinstance(delivery.token, DeadLetter):
            self._retries.settle(delivery.token, rejected)
            return
        batch, entry = delivery.batch, delivery.token
        letters = [letter(batch.header, d.offset, d.line, d.reason) for d in batch.damaged]
        damaged = len(letters)
        offsets = batch.offsets
        letters += [letter(batch.header, offsets[i], batch.line(offsets[i]), why) for i, why in rejected.items()]
        names = Counter(batch.names)
        self._count(names, names - Counter([batch.names[i] for i in rejected]), letters, damaged)
        note = _note(batch)
        self._books.at[note] = batch.end
        self._save(durable=bool(letters))
        self._acknowledge(entry, note)

    def set_aside(self, delivery: Delivery) -> None:
        self._aside.append(delivery.token)
        self._in_hand = None

    def take_up(self) -> None:
        self._taken_up += self._aside
        self._aside = []

    def _refuse(self, entry: Entry, reason: str) -> None:
        """An entry that is not a batch: a dead letter of this host, whose place is the entry's id."""
        logger.warning("%s: entry %s is a dead letter: %s", self._channel.address, entry.id, reason)
        header = Header(tallystick=FORMAT, segment=f"entry-{entry.id}"[:100])
        self._count(Counter(), Counter(), [letter(header, 0, entry.payload[:LETTER_BYTES], reason)], 1)
        self._save(durable=True)
        self._acknowledge(entry)

    def _count(self, names: Counter[str], delivered: Counter[str], letters: list[DeadLetter], damaged: int) -> None:
        """`damaged` of the letters, the first ones, are not among `names`."""
        without_room = self.dead.add(letters) if letters else []
        books = self._books
        books.count_accepted(names)
        books.count_accepted(Counter(lost.name for lost in letters[:damaged]))
        books.count_delivered(delivered)
        if without_room:
            books.count_dropped("dead_limit", Counter(lost.name for lost in without_room))
        if letters:
            self.dead.sync()

    def _save(self, *, durable: bool) -> None:
        self._books.save(durable=durable)

    def _acknowledge(self, entry: Entry, note: str | None = None) -> None:
        if not self._receiver.ack(entry):
            logger.warning(
                "%s: entry %s was given to another agent while this one stood still; its ledger keeps rows single",
                self._channel.address,
                entry.id,
            )
        self._in_hand = None
        if note is not None:  # written down with the next save: until then a redelivery is recognised
            self._books.at.pop(note, None)
            self._books.changed = True

    def _cut(self, entry: Entry, batch: Batch) -> None:
        """Send the entry's records back in pieces, so that each further death accuses fewer."""
        logger.warning(
            "%s: entry %s has come %d times, so one of its records may kill agents; it goes on in pieces",
            self._channel.address,
            entry.id,
            entry.deliveries,
        )
        size = -(-len(batch) // PIECES)
        self._channel.open()
        rest = batch
        while len(rest) > size:
            piece, rest = rest.split(size)
            self._channel.write(piece)
        self._channel.write(rest)
        self._acknowledge(entry)

    def keep(self, delivery: Delivery) -> None:
        if isinstance(delivery.token, Entry):
            self._receiver.keep(delivery.token)

    def tend(self, *, idle: bool) -> None:
        if self._books.changed and idle:
            self._save(durable=False)
        if self._open:
            self._receiver.tend()
            for entry in (*self._aside, *self._taken_up):
                self._receiver.keep(entry)

    def close(self, *, keep_notes: bool) -> None:
        with contextlib.suppress(Exception):
            held = [*self._aside, *self._taken_up]
            for entry in [*([] if self._in_hand is None else [self._in_hand]), *held]:
                self._receiver.give_back(entry)
            if keep_notes and self._books.changed:
                self._save(durable=False)
        self._receiver.close()
        self._channel.close()


def _note(batch: Batch) -> str:
    return f"settling:{batch.segment}:{batch.start}"
