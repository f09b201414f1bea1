"""The contract, part six: `tallystick copy` brings records into the store and out of it, and doing it again changes
nothing. SQLite is at the other end; so records go from any store to any other.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tallystick.backends.base import Backend, Readable
from tallystick.backends.sqlite.backend import SqliteBackend
from tallystick.pipelines.copying import batches, write
from tallystick.queries import Query
from tallystick.records import Batch, Record
from tallystick.testing.base import Contract
from tallystick.testing.builders import make_batch, varied_records


class Copying(Contract):
    @pytest.mark.usefixtures("replacing")
    def test_copied_in_and_out_twice_every_record_is_there_once_with_its_id(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        old, new = SqliteBackend(tmp_path / "old.db"), SqliteBackend(tmp_path / "new.db")
        for store in (old, new):
            store.open()
        one, two = _with_own_ids(make_batch(*varied_records(150))), make_batch(*varied_records(150, seed=2))
        for batch in (one, two):
            old.write(batch)
        for _ in range(2):
            _copy(old, backend)
            self.assert_stored(backend, *one.records, *two.records)
        for _ in range(2):
            _copy(backend, new)
            found = {record.id: self.row(record) for record in new.records(Query())}
            assert found == {r.id: self.row(self.expected(r)) for r in (*one.records, *two.records)}
        for store in (old, new):
            store.close()


def _with_own_ids(batch: Batch) -> Batch:
    """Every tenth record with an id of the caller's own."""
    records: list[Record] = [
        msgspec.structs.replace(record, own_id=f"order-{index}") if index % 10 == 0 else record
        for index, record in enumerate(batch.records)
    ]
    return Batch(batch.header, batch.start, batch.end, records, batch.missing)


def _copy(source: Backend, target: Backend) -> None:
    assert isinstance(source, Readable), "give the backend records(query, newest=None), or override stored()"
    for batch in batches(source.records(Query())):
        rejected = write(target, batch)
        assert not rejected
