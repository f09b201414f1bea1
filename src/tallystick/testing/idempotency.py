"""The contract, part two: one record, one row, however often and in whatever pieces it is delivered."""

from __future__ import annotations

import threading

import msgspec
import pytest

from tallystick.backends.base import Backend
from tallystick.records import COUNTER, GAUGE, Batch, Record
from tallystick.testing.base import Contract, deliver
from tallystick.testing.builders import NOON_NS, at, counters, make_batch


class Idempotency(Contract):
    def test_a_batch_sent_twice_is_stored_once(self, backend: Backend) -> None:
        batch = make_batch(*counters(50))
        self.write(backend, batch, batch, batch)
        self.assert_stored(backend, *batch.records)

    def test_a_batch_sent_again_by_another_process_is_stored_once(self, backend: Backend) -> None:
        batch = make_batch(*counters(50))
        self.write(backend, batch)
        other = self.reopen(backend)
        other.open()
        self.write(other, batch)
        other.close()
        self.assert_stored(backend, *batch.records)

    def test_parts_of_a_stored_batch_add_nothing(self, backend: Backend) -> None:
        batch = make_batch(*counters(50))
        first, second = batch.split(20)
        self.write(backend, batch, first, second, *second.split(1))
        self.assert_stored(backend, *batch.records)

    def test_a_batch_sent_after_its_parts_adds_only_the_rest(self, backend: Backend) -> None:
        batch = make_batch(*counters(60))
        first, rest = batch.split(10)
        middle, last = rest.split(20)
        self.write(backend, middle)
        self.assert_stored(backend, *middle.records)
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)
        self.write(backend, last, first)
        self.assert_stored(backend, *batch.records)

    def test_overlapping_ranges_store_each_record_once(self, backend: Backend) -> None:
        batch = make_batch(*counters(90))
        left, _ = batch.split(60)
        _, right = batch.split(30)
        self.write(backend, left, right)
        self.assert_stored(backend, *batch.records)

    def test_ranges_delivered_out_of_order_are_all_stored(self, backend: Backend) -> None:
        batch = make_batch(*counters(40))
        first, second = batch.split(20)
        self.write(backend, second, first, batch)
        self.assert_stored(backend, *batch.records)

    def test_what_a_chosen_part_left_out_is_stored_when_it_comes(self, backend: Backend) -> None:
        batch = make_batch(*counters(20))
        chosen = batch.only([0, 3, 4, 5, 19])
        self.write(backend, chosen)
        self.assert_stored(backend, *chosen.records)
        first, second = batch.only([1, 2, 3, 6, 7]).split(2)
        self.write(backend, second)
        self.assert_stored(backend, *chosen.records, *second.records[1:])
        self.write(backend, first, batch, chosen)
        self.assert_stored(backend, *batch.records)

    def test_equal_places_in_two_segments_are_two_records(self, backend: Backend) -> None:
        one, two = make_batch(*counters(5), start=100), make_batch(*counters(5), start=100)
        self.write(backend, one, two)
        self.assert_stored(backend, *one.records, *two.records)

    def test_two_processes_writing_at_once_store_each_record_once(self, backend: Backend) -> None:
        whole = make_batch(*(Record(at(i), COUNTER, f"hits.{i % 20}", i, {"n": str(i % 30)}) for i in range(600)))
        pieces = _pieces(whole, 30)
        mine = make_batch(*counters(300, "mine"))
        handles = [backend, self.reopen(backend)]
        failures: list[BaseException] = []
        start = threading.Barrier(2)

        def run(handle: Backend, batches: list[Batch]) -> None:
            try:
                handle.open()
                start.wait(timeout=30)
                for batch in batches:
                    self.write(handle, batch)
                if handle is not backend:
                    handle.close()
            except BaseException as error:
                failures.append(error)

        threads = [
            threading.Thread(target=run, args=(handles[0], pieces)),
            threading.Thread(target=run, args=(handles[1], pieces[::-1] + _pieces(mine, 50))),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        self.assert_stored(backend, *whole.records, *mine.records)

    def test_records_of_one_nanosecond_stay_apart(self, backend: Backend) -> None:
        batch = make_batch(*(Record(NOON_NS, COUNTER, "hits", 1, {"plan": "pro"}) for _ in range(self.many)))
        pieces = _pieces(batch, 2_500)
        self.write(backend, *pieces, pieces[0])
        assert len({record.id for record in self.stored(backend)}) == self.many


class Replacing(Contract):
    """A record with an id of the caller's own is one row, with the newest content."""

    @pytest.mark.usefixtures("replacing")
    def test_the_same_own_id_again_replaces(self, backend: Backend) -> None:
        old = _own(at(0), "a", {"step": 1})
        new = _own(at(1), "a", {"step": 2, "done": True}, metadata={"by": "ada"})
        other = _own(at(0), "b", {"step": 1})
        self.write(backend, make_batch(old, other))
        batch = make_batch(new)
        self.write(backend, batch)
        self._assert_content(backend, {"a": new, "b": other})

    @pytest.mark.usefixtures("replacing")
    def test_replacing_may_change_name_kind_and_tags(self, backend: Backend) -> None:
        self.write(backend, make_batch(_own(at(0), "a", 1, name="order.open", tags={"state": "open"})))
        new = _own(at(60), "a", "paid", name="order.closed", kind="state", tags={"state": "closed"}, unit="eur")
        self.write(backend, make_batch(new))
        self._assert_content(backend, {"a": new})

    @pytest.mark.usefixtures("replacing")
    def test_of_one_batch_the_newest_content_stays(self, backend: Backend) -> None:
        records = [_own(at(seconds), "a", seconds) for seconds in (3, 9, 4)]
        self.write(backend, make_batch(*records, *counters(3)))
        self._assert_content(backend, {"a": records[1]}, others=3)

    @pytest.mark.usefixtures("replacing")
    def test_content_of_the_same_moment_gives_way_to_what_came_later(self, backend: Backend) -> None:
        records = [_own(at(0), "a", value) for value in (1, 2, 3)]
        self.write(backend, make_batch(records[0], records[1]))
        self._assert_content(backend, {"a": records[1]})
        self.write(backend, make_batch(records[2]))
        if self.tells_arrival:
            self._assert_content(backend, {"a": records[2]})
        else:
            assert [record.value for record in self.stored(backend)] in ([2], [3])

    @pytest.mark.usefixtures("replacing")
    def test_a_late_redelivery_never_overwrites_newer_content(self, backend: Backend) -> None:
        old, new = _own(at(0), "a", "old"), _own(at(1), "a", "new")
        first, second = make_batch(old, *counters(3)), make_batch(new)
        self.write(backend, first, second, first)
        self._assert_content(backend, {"a": new}, others=3)
        self.write(backend, make_batch(msgspec.structs.replace(old, value="late")))
        self._assert_content(backend, {"a": new}, others=3)

    @pytest.mark.usefixtures("replacing")
    def test_what_was_delivered_out_of_order_ends_with_the_newest(self, backend: Backend) -> None:
        batch = make_batch(*(_own(at(i), f"id-{i % 5}", i) for i in range(25)))
        first, second = batch.split(12)
        self.write(backend, second, first, batch)
        self._assert_content(backend, {f"id-{i % 5}": batch.records[i] for i in range(20, 25)})

    @pytest.mark.usefixtures("replacing")
    @pytest.mark.parametrize("value", ["lone surrogate \ud800", {"deep": ["\udfff"]}, object(), 2**70, float("nan")])
    def test_a_rejected_replacement_leaves_the_old_content(self, backend: Backend, value: object) -> None:
        old = _own(at(0), "a", "old")
        self.write(backend, make_batch(old))
        result = deliver(backend, make_batch(_own(at(1), "a", value), *counters(3)))
        assert set(result.rejected) <= {0}
        if result.rejected:
            self._assert_content(backend, {"a": old}, others=3)

    def _assert_content(self, backend: Backend, content: dict[str, Record], others: int = 0) -> None:
        found = {record.id: record for record in self.stored(backend)}
        assert len(found) == len(content) + others
        for own_id, record in content.items():
            wanted = msgspec.structs.replace(record, header=found[own_id].header)
            assert self.row(found[own_id]) == self.row(self.expected(wanted))


def _own(
    timestamp_ns: int, own_id: str, value: object, *, name: str = "order", kind: str = GAUGE, **more: object
) -> Record:
    fields = {"timestamp_ns": timestamp_ns, "kind": kind, "name": name, "value": value, "own_id": own_id, **more}
    return Record(**fields)  # type: ignore[arg-type]


def _pieces(batch: Batch, size: int) -> list[Batch]:
    pieces = []
    while len(batch) > size:
        piece, batch = batch.split(size)
        pieces.append(piece)
    return [*pieces, batch]
