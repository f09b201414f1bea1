"""The contract, part five: opening, closing, threads, and the powers of a `Managed` store."""

from __future__ import annotations

import os
import threading
import traceback
from typing import Final

import pytest

from tallystick.backends.base import Backend, Managed
from tallystick.queries import Query, Series
from tallystick.records import COUNTER, Batch, Record
from tallystick.testing.base import Contract
from tallystick.testing.builders import at, counters, make_batch

UNMANAGED: Final = "this store has nothing to set up, check or prune: it lacks the optional powers of Managed"


class Lifecycle(Contract):
    def test_the_store_keeps_the_protocol(self, backend: Backend) -> None:
        assert isinstance(backend, Backend)
        assert type(backend.inline) is bool
        assert "://" in backend.address or "." in backend.address

    def test_opening_twice_changes_nothing(self, backend: Backend) -> None:
        batch = make_batch(*counters(5))
        self.write(backend, batch)
        backend.open()
        backend.open()
        self.assert_stored(backend, *batch.records)

    def test_records_are_there_after_closing_and_opening(self, backend: Backend) -> None:
        first, second = make_batch(*counters(9)).split(4)
        self.write(backend, first)
        backend.close()
        backend.open()
        self.assert_stored(backend, *first.records)
        self.write(backend, second, first)
        self.assert_stored(backend, *first.records, *second.records)

    def test_closing_twice_is_harmless(self, backend: Backend) -> None:
        backend.close()
        backend.close()

    def test_another_handle_sees_what_was_written(self, backend: Backend) -> None:
        batch = make_batch(*counters(5))
        self.write(backend, batch)
        other = self.reopen(backend)
        other.open()
        self.assert_stored(other, *batch.records)
        other.close()
        assert other.address == backend.address

    @pytest.mark.usefixtures("answering")
    def test_another_thread_may_ask_while_one_writes(self, backend: Backend) -> None:
        batch = make_batch(*counters(200))
        answers: list[list[Series]] = []
        failures: list[BaseException] = []
        writing = threading.Event()

        def ask() -> None:
            try:
                writing.wait(timeout=30)
                answers.extend(backend.query(Query("hits", aggregate="count")) for _ in range(10))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        while len(batch) > 1:
            piece, batch = batch.split(1)
            self.write(backend, piece)
            writing.set()
            if len(batch) < 150 and not thread.is_alive():
                break
        thread.join()
        assert not failures, failures
        assert len(answers) == 10

    def test_a_forked_child_and_its_parent_write_at_once_without_harm(self, backend: Backend) -> None:
        """Nothing crosses a fork. On one connection their requests would be mixed, and the child's end would be both
        their end."""
        if not self.outlives_the_process:
            pytest.skip("this store is in the memory of one process")
        before, mine, childs, after = (make_batch(*counters(20)) for _ in range(4))
        self.write(backend, before)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                self._write_by_pieces(backend, childs)
                backend.close()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        try:
            self._write_by_pieces(backend, mine)
        finally:
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended == 0
        self.write(backend, after)
        self.assert_stored(backend, *before.records, *mine.records, *childs.records, *after.records)

    def _write_by_pieces(self, backend: Backend, batch: Batch) -> None:
        backend.open()
        while len(batch) > 1:
            piece, batch = batch.split(1)
            self.write(backend, piece)
        self.write(backend, batch)

    def test_setup_and_check_find_all_well(self, backend: Backend) -> None:
        if not isinstance(backend, Managed):
            pytest.skip(UNMANAGED)
        backend.setup()
        assert backend.setup() == [], "a second setup has nothing to do"
        assert [line for line in backend.check() if not line.ok] == []

    def test_indices_say_what_is_held(self, backend: Backend) -> None:
        if not isinstance(backend, Managed):
            pytest.skip(UNMANAGED)
        self.write(backend, make_batch(*counters(10)))
        self.settle(backend)
        held = backend.indices()
        assert sum(index["records"] for index in held) == 10
        assert all({"name", "records", "size_bytes", "oldest", "newest"} <= set(index) for index in held)

    def test_prune_forgets_the_old_alone(self, backend: Backend) -> None:
        if not isinstance(backend, Managed):
            pytest.skip(UNMANAGED)
        day = 86_400
        old = make_batch(*(Record(at(i - 40 * day), COUNTER, "hits", i) for i in range(8)))
        new = make_batch(*counters(5))
        self.write(backend, old, new)
        self.settle(backend)
        assert backend.prune(at(-20 * day) / 1e9) == 8
        self.assert_stored(backend, *new.records)
        assert backend.prune(at(-20 * day) / 1e9) == 0
        self.write(backend, new)
        self.assert_stored(backend, *new.records)
