"""What all parts of the backend contract share: how a store is made, filled, read, and what it may relax."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from tallystick.backends.base import ACCEPTED, Backend, Readable, WriteResult
from tallystick.errors import Unavailable
from tallystick.queries import Query
from tallystick.records import Batch, Record
from tallystick.testing.builders import by_id, typed

FIELDS: Final = (
    "timestamp_ns",
    "kind",
    "name",
    "value",
    "tags",
    "words",
    "unit",
    "metadata",
    "sample_rate",
    "id",
    "host",
    "app",
    "pid",
)
"""What a record must come back with."""


class Contract:
    """One store under test. Only `make_backend` and `reopen` must be given; the rest relaxes what a store cannot do."""

    fields: ClassVar[tuple[str, ...]] = FIELDS
    """The fields that come back. Leave out what the store does not keep at all, and say so in its documentation."""

    percentile_error: ClassVar[float] = 0.0
    """By which share of the ranks an engine that estimates percentiles may be off: 0.01 lets a p95 lie anywhere from
    the p94 to the p96 of the records (or one record beside them). 0.0 asks for the nearest rank itself."""

    keeps_order: ClassVar[bool] = True
    """Whether equally old records of a segment come back in the order of their recording. False asks only for the
    order of time."""

    replaces_own_ids: ClassVar[bool] = True
    """Whether the same own id again is one row with the newest content. False for a store that can only append."""

    tells_arrival: ClassVar[bool] = True
    """Whether, of contents of one own id and one nanosecond, the one that arrived last stays. False for a store that
    knows no order of arrival: one of them stays, the same for everybody."""

    answers_queries: ClassVar[bool] = True
    """False when `query` raises `QueryError` for whatever is asked."""

    holds_before_1970: ClassVar[bool] = True
    """Whether moments before 1970 can be stored."""

    outlives_the_process: ClassVar[bool] = True
    """False for a store in the memory of one process, which a forked child has a copy of."""

    many: ClassVar[int] = 10_000
    """How many records make the large test; smaller only where a store needs minutes for so many."""

    def make_backend(self, tmp_path: Path) -> Backend:
        """A new, empty store, not yet open. Called for each test; `tmp_path` is a folder for that test alone."""
        raise NotImplementedError(f"{type(self).__qualname__} must define make_backend(self, tmp_path)")

    def reopen(self, backend: Backend) -> Backend:
        """A second handle to the same store, not yet open, as another process would have."""
        raise NotImplementedError(f"{type(self).__qualname__} must define reopen(self, backend)")

    def expected(self, record: Record) -> Record:
        """What comes back for this record: the record itself, unless the store has a stated mapping of its own
        (all numbers become floats, documents become texts, …)."""
        return record

    def settle(self, backend: Backend) -> None:
        """Make what was written visible to readers, in a store that takes a moment for it."""

    def tear_down(self, backend: Backend) -> None:
        """Remove the store, where it is not in `tmp_path`."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        backend = self.make_backend(tmp_path)
        backend.open()
        yield backend
        backend.close()
        self.tear_down(backend)

    @pytest.fixture
    def replacing(self) -> None:
        """For the tests that only a store which replaces can pass."""
        if not self.replaces_own_ids:
            pytest.skip("this store says that it cannot replace")

    @pytest.fixture
    def answering(self) -> None:
        """For the tests that are about answers alone."""
        if not self.answers_queries:
            pytest.skip("this store says that it answers no queries")

    def stored(self, backend: Backend, query: Query | None = None, newest: int | None = None) -> list[Record]:
        """What the store holds. A store that is not `Readable` overrides this (and reads in its own way)."""
        assert isinstance(backend, Readable), "give the backend records(query, newest=None), or override stored()"
        self.settle(backend)
        return list(backend.records(Query() if query is None else query, newest=newest))

    def write(self, backend: Backend, *batches: Batch) -> None:
        """Write what must be accepted whole."""
        for batch in batches:
            result = backend.write(batch)
            assert result == ACCEPTED, f"{batch!r}: {result}"

    def row(self, record: Record) -> dict[str, Any]:
        """A record as the fields to compare, each with its type."""
        return {field: typed(getattr(record, field)) for field in self.fields}

    def assert_stored(self, backend: Backend, *records: Record) -> None:
        """The store holds these records, each once, and no other."""
        found = by_id(self.stored(backend))
        wanted = by_id(self.expected(record) for record in records)
        assert len(found) == len(wanted)
        assert found.keys() == wanted.keys()
        for key, record in wanted.items():
            assert self.row(found[key]) == self.row(record)


def deliver(backend: Backend, batch: Batch) -> WriteResult:
    """Write as the agent does: an error that names no record bisects the batch until the culprit stands alone."""
    try:
        return backend.write(batch)
    except Unavailable:
        raise
    except Exception as error:
        if len(batch) == 1:
            return WriteResult({0: f"{type(error).__name__}: {error}"})
        middle = len(batch) // 2
        first, second = (deliver(backend, part) for part in batch.split(middle))
        return WriteResult(
            {**first.rejected, **{middle + index: reason for index, reason in second.rejected.items()}},
            {**first.kept, **{middle + index: reason for index, reason in second.kept.items()}},
        )
