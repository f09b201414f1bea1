"""Power failures: what `fsync` promised is kept.

A state machine records, delivers and keeps house on the disk of power.py, whose power may fail between any two things
that happen to it. After each failure the promises are checked on what is left, and the machine goes on with that.
The backend is durable when its `write` returns, as the contract of backends says.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.acceptance.power import Patched, PowerDisk, PowerFailure

from tallystick.backends.base import WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.codec import encode_line, without_checksum
from tallystick.pipelines.agents import spool_agent
from tallystick.records import Batch, Record
from tallystick.spool import folder
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters
from tallystick.spool.dropping import make_room
from tallystick.spool.folder import Folder
from tallystick.spool.source import SpoolSource
from tallystick.spool.spool import Spool

SEGMENT_BYTES = 2048
NAMES = ("red", "green", "bad")
PHASES = [phase for phase in Phase if phase is not Phase.explain]
"""Explaining a failure line by line takes minutes here."""


class Database(MemoryBackend):
    """Keeps what it accepted whatever happens to the machine; never accepts what is named "bad"."""

    def __init__(self, stored: dict[str, Record] | None = None) -> None:
        super().__init__()
        self.stored = stored or {}

    def write(self, batch: Batch) -> WriteResult:
        for record in batch.records:
            if record.name != "bad":
                self.stored.setdefault(record.id, record)
        return WriteResult({i: "bad" for i, record in enumerate(batch.records) if record.name == "bad"})


class PowerLoss(RuleBasedStateMachine):
    """`recorded` are the values whose call returned, with their names; `promised` those that must not be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.tmp = Path(tempfile.mkdtemp())
        self.generation = 0
        self.disk = PowerDisk(self.new_root())
        self.patched = Patched(lambda: self.disk)
        self.database = Database()
        self.begun: dict[int, str] = {}
        self.promised: set[int] = set()
        self.lost: set[int] = set()
        self.spool: Spool | None = None
        self.source: SpoolSource | None = None
        self.seed = self.failures = 0
        self.fsync: Literal["never", "interval", "always"] = "interval"

    def new_root(self) -> Path:
        self.generation += 1
        root = self.tmp / str(self.generation)
        root.mkdir()
        return root

    @initialize(fsync=st.sampled_from(["never", "interval", "always"]))
    def choose(self, fsync: Literal["never", "interval", "always"]) -> None:
        self.fsync = fsync

    @property
    def folder(self) -> Folder:
        return Folder(self.disk.root)

    # --- what a writer does ---

    @rule(count=st.integers(1, 12), names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
    def record(self, count: int, names: list[str]) -> None:
        with self.power():
            if self.spool is None:
                self.spool = Spool(self.folder, segment_bytes=SEGMENT_BYTES, fsync=self.fsync)
                self.spool._tender.wake = lambda: None  # type: ignore[method-assign]  # `tend` does its work
            for index in range(count):
                value, name = len(self.begun), names[index % len(names)]
                self.begun[value] = name
                line = encode_line(1_763_683_200_000_000_000 + value, "counter", name, value, {"plan": "pro"})
                assert self.spool.append(line, name)
                if self.fsync == "always":
                    self.promised.add(value)

    @precondition(lambda self: self.spool is not None)
    @rule()
    def tend(self) -> None:
        with self.power():
            if self.spool is not None:
                self.spool._tender.tend_once()

    @precondition(lambda self: self.spool is not None)
    @rule()
    def close_writer(self) -> None:
        with self.power():
            if self.spool is not None:
                self.spool.close()
                self.spool = None

    @precondition(lambda self: self.spool is not None)
    @rule()
    def kill_writer(self) -> None:
        self.let_go_of_writer()

    # --- what an agent does ---

    def agent(self) -> SpoolSource:
        if self.source is None:
            self.folder.open()
            self.source = SpoolSource(self.folder, DeadLetters(self.folder))
        return self.source

    @rule(limit=st.integers(1, 40), times=st.integers(1, 5))
    def deliver(self, limit: int, times: int) -> None:
        with self.power():
            for _ in range(times):
                delivery = self.agent().receive(limit)
                if delivery is not None:
                    self.disk.moment()
                    rejected = self.database.write(delivery.batch).rejected
                    self.disk.moment()
                    self.agent().settle(delivery, rejected)

    @rule()
    def save(self) -> None:
        with self.power():
            self.agent().save()

    @rule()
    def tidy(self) -> None:
        with self.power():
            self.agent().tidy()

    @rule()
    def sync_spool(self) -> None:
        """Also done under the other policies: it must never do harm."""
        with self.power():
            before = set(self.begun) - self.lost
            self.agent().sync_spool()
            if self.fsync != "never":
                self.promised |= before

    @rule()
    def close_agent(self) -> None:
        with self.power():
            self.agent().close()
            self.source = None

    @precondition(lambda self: self.source is not None)
    @rule()
    def kill_agent(self) -> None:
        self.let_go_of_agent()

    @rule(kept=st.integers(0, 4))
    def drop_old(self, kept: int) -> None:
        with self.power():
            make_room(self.folder.open(), 0, kept * SEGMENT_BYTES)

    # --- the power ---

    @rule(moments=st.integers(1, 25))
    def light_the_fuse(self, moments: int) -> None:
        self.disk.fuse = moments

    @rule(seed=st.integers(0, 2**32))
    def fail_now(self, seed: int) -> None:
        with self.power(seed):
            self.disk.fail()

    @contextmanager
    def power(self, seed: int | None = None) -> Iterator[None]:
        try:
            yield
            self.disk.observe()
        except PowerFailure:
            self.come_back(self.seed + self.generation if seed is None else seed)
            self.failures += 1

    def come_back(self, seed: int) -> None:
        self.disk.off = False
        self.disk.fuse = -1
        self.let_go_of_writer()
        self.let_go_of_agent()
        gone, root = self.disk, self.new_root()
        gone.left_over(root, seed)
        self.disk = PowerDisk(root)
        gone.close()
        shutil.rmtree(gone.root)
        self.lost = set(self.begun) - self.promised  # whatever came through of them was not promised
        self.check_promises()

    def let_go_of_writer(self) -> None:
        if self.spool is not None:
            for segment in (*self.spool._tender.old, *self.spool._tender.ready, *filter(None, [self.spool._segment])):
                segment.abandon()
            self.spool.tally.close()
            self.spool = None

    def let_go_of_agent(self) -> None:
        """Its locks end with it; it writes nothing more."""
        if self.source is not None:
            self.source._underway.note.delivering = ""
            self.source.close(keep_notes=False)
            self.source = None

    # --- the promises ---

    def check_promises(self) -> None:
        """On a copy, with an agent that delivers all there is."""
        check_positions(self.folder)
        copy = self.new_root()
        shutil.copytree(self.disk.root, copy, dirs_exist_ok=True)
        folder, database, working = Folder(copy), Database(dict(self.database.stored)), self.disk
        self.disk = PowerDisk(copy)
        try:
            self.record_a_witness(folder)
            assert spool_agent(folder, database).run("passed")
        finally:
            self.disk.close()
            self.disk = working
        self.check_content(folder, database)
        shutil.rmtree(copy)

    def record_a_witness(self, folder: Folder) -> None:
        """A bad record that stands alone waits for a good one, and is dead when that passes."""
        spool = Spool(folder, segment_bytes=SEGMENT_BYTES, fsync=self.fsync)
        assert spool.append(encode_line(1_763_683_200_000_000_000, "counter", "witness", -1, {}), "witness")
        spool.close()

    def check_content(self, folder: Folder, database: Database) -> None:
        books, letters = account(folder), DeadLetters(folder).state().letters
        values = Counter(record.value for record in database.stored.values())
        assert [value for value, count in values.items() if count > 1] == [], "delivered twice"
        dead = Counter(value for found in letters.values() for value in [r.value for r in found.batch().records])
        assert [value for value, count in dead.items() if count > 1] == [], "a dead letter twice"
        missing = Counter(self.begun[value] for value in self.promised - values.keys() - dead.keys())
        dropped = books.dropped.get("drop_old", Counter())
        assert not missing - dropped, f"promised under fsync={self.fsync}, and lost: {missing - dropped}"
        # A dead letter may outlive its line, when that was promised to nobody: then no one is left to count it.
        alone = Counter(self.begun[value] for value in self.lost & dead.keys())
        assert all(0 < -lacking <= alone[name] for name, lacking in books.imbalance().items()), books.imbalance()
        begun, promised = Counter(self.begun.values()), Counter(self.begun[value] for value in self.promised)
        for name in NAMES:
            assert promised[name] <= books.accepted[name] <= begun[name], f"{name}: counted {books.accepted[name]}"

    def teardown(self) -> None:
        self.patched.undo()
        self.let_go_of_writer()
        self.let_go_of_agent()
        self.disk.close()
        shutil.rmtree(self.tmp)


def check_positions(folder: Folder) -> None:
    if folder.positions.exists():
        without_checksum(folder.positions.read_bytes())  # old or new, and whole; raises ValueError otherwise


def test_what_fsync_promised_survives_a_power_failure_at_any_moment(
    thorough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        folder, "RESERVE_BYTES", SEGMENT_BYTES
    )  # what is in it is of no matter, and read again and again
    run_state_machine_as_test(
        PowerLoss,
        settings=settings(
            max_examples=2_000 if thorough else 60,
            stateful_step_count=60 if thorough else 40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
        ),
    )


def rejected(machine: PowerLoss) -> None:
    machine.record(6, ["red", "bad"])
    machine.sync_spool()
    machine.close_writer()
    machine.deliver(4, 1)
    machine.deliver(4, 1)
    machine.tidy()


def dropped(machine: PowerLoss) -> None:
    machine.record(6, ["red", "bad"])
    machine.sync_spool()
    machine.kill_writer()
    machine.deliver(2, 1)
    machine.close_agent()
    machine.drop_old(0)
    machine.tidy()
    machine.close_agent()


def rotated(machine: PowerLoss) -> None:
    for _ in range(3):
        machine.record(16, ["red", "green"])
        machine.tend()
        machine.deliver(20, 1)
    machine.sync_spool()
    machine.close_writer()
    machine.deliver(40, 5)
    machine.tidy()
    machine.close_agent()


@pytest.mark.parametrize("fsync", ["interval", "always"])
@pytest.mark.parametrize("script", [rejected, dropped, rotated], ids=lambda script: script.__name__)
def test_the_power_may_fail_between_any_two_things_that_happen(
    script: Callable[[PowerLoss], None],
    fsync: Literal["interval", "always"],
    thorough: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder, "RESERVE_BYTES", SEGMENT_BYTES)
    for seed in range(100, 2_100 if thorough else 300, 100):
        moment = 1
        while True:
            machine = PowerLoss()
            try:
                machine.fsync, machine.seed, machine.disk.fuse = fsync, seed, moment
                script(machine)
                if not machine.failures:
                    break  # there are no more moments
                machine.fail_now(seed)
            finally:
                machine.teardown()
            moment += 1
        assert moment > 10
