"""A server that dies, and settings of a whole cluster: on a server of this run's own."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.contract.faults import CrashContract
from tests.contract.search import DAY_SECONDS, OfSearch, ask, new_index, refresh
from tests.services import service

from tallystick.backends.base import ACCEPTED, Backend
from tallystick.errors import Misconfigured
from tallystick.records import COUNTER, Record
from tallystick.testing import at, make_batch


class SearchCrash(OfSearch, CrashContract):
    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        return self.kind(f"127.0.0.1:{port}", index=new_index(), timeout_seconds=timeout_seconds)

    def settle(self, backend: Backend) -> None:
        refresh(backend)

    @pytest.fixture
    def patient(self) -> Iterator[Backend]:
        """A server that was just started takes its time to make an index."""
        backend = self.make_backend(urlsplit(service(self.server, own=True)).port or 0, 30)
        yield backend
        backend.close()

    @pytest.mark.parametrize(
        ("setting", "value", "says"),
        [
            ("cluster.max_shards_per_node", 1, "shards"),
            ("action.auto_create_index", "false", "no such index"),
        ],
    )
    def test_a_cluster_that_makes_no_new_index_keeps_the_new_days_records(
        self, patient: Backend, setting: str, value: object, says: str
    ) -> None:
        today, tomorrow = Record(at(0), COUNTER, "hits", 1), Record(at(DAY_SECONDS), COUNTER, "hits", 2)
        assert patient.write(make_batch(today)) == ACCEPTED
        batch = make_batch(today, tomorrow)
        ask(patient, "PUT", "/_cluster/settings", {"persistent": {setting: value}})
        try:
            result = patient.write(batch)
            assert set(result.kept) == {1}
            assert says in result.kept[1]
            assert not result.rejected
            with pytest.raises(Misconfigured, match=says):
                patient.write(batch.only([1]))
        finally:
            ask(patient, "PUT", "/_cluster/settings", {"persistent": {setting: None}})
        assert patient.write(batch) == ACCEPTED
