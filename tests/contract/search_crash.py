"""A server that dies, and settings of a whole cluster: on a server of this run's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from tests.contract.search import DAY_SECONDS, OfSearch, ask, new_index, refresh, remove
from tests.services import kill, restart, service

from tallystick.backends._search import SearchBackend
from tallystick.backends.base import ACCEPTED
from tallystick.errors import Misconfigured, Unavailable
from tallystick.queries import Query
from tallystick.records import COUNTER, Record
from tallystick.testing import at, counters, make_batch


class SearchCrash(OfSearch):
    @pytest.fixture
    def backend(self) -> Iterator[SearchBackend]:
        hosts = service(self.server, own=True).removeprefix("http://")
        backend = self.kind(hosts, index=new_index(), timeout_seconds=5)
        backend.open()
        yield backend
        remove(backend)

    def test_what_was_accepted_survives_kill_9_and_the_same_backend_goes_on(self, backend: SearchBackend) -> None:
        before, during, after = (make_batch(*counters(50)) for _ in range(3))
        assert backend.write(before) == ACCEPTED
        kill(self.server)
        for _ in range(2):
            with pytest.raises(Unavailable):
                backend.write(during)
        restart(self.server)
        for _ in range(50):  # the shards come back a moment after the server answers
            with contextlib.suppress(Unavailable):
                backend.open()
                result = backend.write(during)
                if result == ACCEPTED:
                    break
        assert backend.write(after) == ACCEPTED
        refresh(backend)
        stored = {record.id for record in backend.records(Query())}
        assert stored == {record.id for batch in (before, during, after) for record in batch.records}

    @pytest.mark.parametrize(
        ("setting", "value", "says"),
        [
            ("cluster.max_shards_per_node", 1, "shards"),
            ("action.auto_create_index", "false", "no such index"),
        ],
    )
    def test_a_cluster_that_makes_no_new_index_keeps_the_new_days_records(
        self, backend: SearchBackend, setting: str, value: object, says: str
    ) -> None:
        today, tomorrow = Record(at(0), COUNTER, "hits", 1), Record(at(DAY_SECONDS), COUNTER, "hits", 2)
        assert backend.write(make_batch(today)) == ACCEPTED
        batch = make_batch(today, tomorrow)
        ask(backend, "PUT", "/_cluster/settings", {"persistent": {setting: value}})
        try:
            result = backend.write(batch)
            assert set(result.kept) == {1}
            assert says in result.kept[1]
            assert not result.rejected
            with pytest.raises(Misconfigured, match=says):
                backend.write(batch.only([1]))
        finally:
            ask(backend, "PUT", "/_cluster/settings", {"persistent": {setting: None}})
        assert backend.write(batch) == ACCEPTED
