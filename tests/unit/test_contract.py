"""The contract can fail: each backend here breaks one promise, and the test that states it notices."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.backends import memory
from tallystick.backends.base import ACCEPTED, Backend, WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record
from tallystick.testing import BackendContract


class Suite(BackendContract):
    """The contract, to be called test by test."""

    def make_backend(self, tmp_path: Path) -> Backend:
        return MemoryBackend()

    def reopen(self, backend: Backend) -> Backend:
        return backend


def changed(batch: Batch, **fields: Any) -> Batch:
    records = [msgspec.structs.replace(record, **fields) for record in batch.records]
    return Batch(batch.header, batch.start, batch.end, records, batch.missing)


class LosesTheLast(MemoryBackend):
    def write(self, batch: Batch) -> WriteResult:
        return super().write(Batch(batch.header, batch.start, batch.end, batch.records[:-1]))


class StoresAgain(MemoryBackend):
    def write(self, batch: Batch) -> WriteResult:
        with self._lock:
            for record in batch.records:
                self._records[uuid.uuid4().hex] = record
        return ACCEPTED


class TakesRangesForStored(MemoryBackend):
    """A ledger that marks the whole range of a batch from which records were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._ranges: list[tuple[str, int, int]] = []

    def write(self, batch: Batch) -> WriteResult:
        def known(record: Record) -> bool:
            return any(s == batch.segment and a <= record.offset < b for s, a, b in self._ranges)

        fresh = [record for record in batch.records if not known(record)]
        self._ranges.append((batch.segment, batch.start, batch.end))
        return super().write(Batch(batch.header, batch.start, batch.end, fresh))


class NeverReplaces(MemoryBackend):
    def write(self, batch: Batch) -> WriteResult:
        with self._lock:
            for record in batch.records:
                self._records.setdefault(record.id, record)
        return ACCEPTED


class MarksWhatItGets(MemoryBackend):
    """As some drivers do: the key goes into the caller's own document."""

    def write(self, batch: Batch) -> WriteResult:
        for record in batch.records:
            if isinstance(record.value, dict):
                record.value["_id"] = record.id
        return super().write(batch)


class AlwaysReplaces(MemoryBackend):
    def write(self, batch: Batch) -> WriteResult:
        with self._lock:
            self._records.update((record.id, record) for record in batch.records)
        return ACCEPTED


class MakesFloats(MemoryBackend):
    def write(self, batch: Batch) -> WriteResult:
        records = [
            msgspec.structs.replace(r, value=float(r.value)) if type(r.value) is int else r for r in batch.records
        ]
        return super().write(Batch(batch.header, batch.start, batch.end, records))


class RejectsAll(MemoryBackend):
    def write(self, batch: Batch) -> WriteResult:
        return WriteResult(dict.fromkeys(range(len(batch)), "no"))


class RejectsNeighbours(MemoryBackend):
    def write(self, batch: Batch) -> WriteResult:
        if any(record.name == "poison" for record in batch.records):
            return WriteResult(dict.fromkeys(range(len(batch)), "one of these"))
        return super().write(batch)


class NewestFirst(MemoryBackend):
    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        return reversed(list(super().records(query, newest=newest)))


class ForgetsWhere(MemoryBackend):
    def query(self, query: Query) -> list[Series]:
        return super().query(Query(query.names, aggregate=query.aggregate, by=query.by, start=query.start))


class IgnoresSampling(MemoryBackend):
    def query(self, query: Query) -> list[Series]:
        records = [msgspec.structs.replace(record, sample_rate=1.0) for record in self._all()]
        return memory.answer(records, query)


class Interpolates(MemoryBackend):
    def query(self, query: Query) -> list[Series]:
        def between(records: list[Record]) -> float:
            values = sorted(float(record.value) for record in records)  # type: ignore[arg-type]
            place = (len(values) - 1) * (query.percentile or 0)
            low = int(place)
            return values[low] + (values[min(low + 1, len(values) - 1)] - values[low]) * (place - low)

        return memory.answer(self._all(), query, between if query.percentile else None)


class PatternsInNames(MemoryBackend):
    """`_` stands for any character, as in LIKE."""

    def query(self, query: Query) -> list[Series]:
        return super().query(Query([name.replace("_", "?") for name in query.names], aggregate=query.aggregate))


class OneMomentOneRecord(MemoryBackend):
    """Equal series and time merge, as in InfluxDB."""

    def write(self, batch: Batch) -> WriteResult:
        with self._lock:
            for record in batch.records:
                self._records[f"{record.name}{record.tags}{record.timestamp_ns}"] = record
        return ACCEPTED


class IncludesTheEnd(MemoryBackend):
    def query(self, query: Query) -> list[Series]:
        end = None if query.end is None else query.end + 0.001
        return memory.answer(self._all(), Query(query.names, aggregate=query.aggregate, start=query.start, end=end))


@pytest.mark.parametrize(
    ("broken", "test", "arguments"),
    [
        (LosesTheLast, "test_every_kind_comes_back", ()),
        (RejectsAll, "test_every_kind_comes_back", ()),
        (MakesFloats, "test_every_value_comes_back_with_its_type", ()),
        (MakesFloats, "test_values_of_different_types_live_under_one_name", ()),
        (MarksWhatItGets, "test_writing_leaves_the_batch_as_it_was", ()),
        (NewestFirst, "test_records_come_oldest_first", ()),
        (NewestFirst, "test_the_newest_records_are_given_oldest_first", ()),
        (StoresAgain, "test_a_batch_sent_twice_is_stored_once", ()),
        (StoresAgain, "test_parts_of_a_stored_batch_add_nothing", ()),
        (StoresAgain, "test_overlapping_ranges_store_each_record_once", ()),
        (StoresAgain, "test_two_processes_writing_at_once_store_each_record_once", ()),
        (TakesRangesForStored, "test_what_a_chosen_part_left_out_is_stored_when_it_comes", ()),
        (OneMomentOneRecord, "test_records_of_one_nanosecond_stay_apart", ()),
        (OneMomentOneRecord, "test_records_of_one_nanosecond_are_all_counted", ()),
        (NeverReplaces, "test_the_same_own_id_again_replaces", ()),
        (NeverReplaces, "test_content_of_the_same_moment_gives_way_to_what_came_later", ()),
        (AlwaysReplaces, "test_a_late_redelivery_never_overwrites_newer_content", ()),
        (AlwaysReplaces, "test_of_one_batch_the_newest_content_stays", ()),
        (ForgetsWhere, "test_answers_equal_the_oracles", ("sum",)),
        (IgnoresSampling, "test_answers_equal_the_oracles", ("mean",)),
        (IgnoresSampling, "test_a_sampled_record_stands_for_those_that_were_not_recorded", ()),
        (Interpolates, "test_percentiles_are_of_the_nearest_rank", (20,)),
        (Interpolates, "test_answers_equal_the_oracles", ("p50",)),
        (IncludesTheEnd, "test_the_start_is_in_and_the_end_is_out", ()),
        (PatternsInNames, "test_hostile_names_are_stored_and_found", ()),
        (RejectsNeighbours, "test_poison_harms_no_neighbour", (0,)),
        (RejectsNeighbours, "test_of_a_mixed_batch_every_record_has_a_verdict_of_its_own", ()),
    ],
)
def test_a_broken_promise_is_noticed(broken: type[MemoryBackend], test: str, arguments: tuple[Any, ...]) -> None:
    suite = Suite()
    getattr(suite, test)(MemoryBackend(), *arguments)
    with pytest.raises(AssertionError):
        getattr(suite, test)(broken(), *arguments)


def test_records_that_a_forked_child_keeps_to_itself_are_noticed() -> None:
    with pytest.raises(AssertionError):
        Suite().test_a_forked_child_and_its_parent_write_at_once_without_harm(MemoryBackend())


def test_a_stated_error_of_percentiles_lets_neighbours_pass_and_no_more() -> None:
    class Estimates(Suite):
        percentile_error = 0.02

    class FarOff(Interpolates):
        def query(self, query: Query) -> list[Series]:
            return memory.answer(self._all(), query, lambda records: float(len(records)))

    Estimates().test_answers_equal_the_oracles(Interpolates(), "p95")
    with pytest.raises(AssertionError):
        Estimates().test_answers_equal_the_oracles(FarOff(), "p95")


def test_capture_and_builders_need_no_pytest() -> None:
    program = """
import sys
sys.modules["pytest"] = None
from tallystick.testing import capture, counters, make_batch
print(len(make_batch(*counters(3))))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "3\n"
