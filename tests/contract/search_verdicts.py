"""What a search backend makes of refusals of the real server, and what one record's document is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.search import DAY_SECONDS, SearchStore, ask, refresh

from tallystick.backends.base import ACCEPTED
from tallystick.backends.search.backend import BODY_BYTES, SearchBackend
from tallystick.errors import Misconfigured, TooLarge, Unavailable
from tallystick.queries import Query
from tallystick.records import EVENT, GAUGE, Record
from tallystick.testing import at, counters, make_batch
from tallystick.testing.hostile import deliver_at_once


class SearchVerdicts(SearchStore):
    # --- refusals -----------------------------------------------------------------------------------------------------

    def test_a_field_of_another_type_rejects_the_conflicting_records_alone(self, backend: SearchBackend) -> None:
        self.make_index(backend, mappings={"properties": {"value": {"type": "ip"}}})
        batch = make_batch(
            Record(at(0), GAUGE, "number", 7),
            Record(at(1), EVENT, "text", "v42"),
            Record(at(DAY_SECONDS), GAUGE, "tomorrow", 8),
            Record(at(2), GAUGE, "number", 9),
        )
        for _ in range(2):
            result = backend.write(batch)
            assert set(result.rejected) == {0, 3}
            assert "value" in result.rejected[0]
            assert not result.kept
        assert self.ids(backend) == sorted(batch.records[index].id for index in (1, 2))
        (line,) = [line for line in backend.check() if not line.ok]
        assert "holds value as ip" in line.what

    @pytest.mark.parametrize("block", ["blocks.read_only_allow_delete", "blocks.write", "blocks.read_only"])
    def test_a_blocked_index_keeps_its_records_and_no_others(self, backend: SearchBackend, block: str) -> None:
        """As the server itself blocks an index when its disk is full."""
        name = self.make_index(backend)
        ask(backend, "PUT", f"/{name}/_settings", {f"index.{block}": True})
        blocked, other = Record(at(0), GAUGE, "blocked", 1), Record(at(DAY_SECONDS), GAUGE, "free", 1)
        batch = make_batch(blocked, other)
        result = backend.write(batch)
        assert set(result.kept) == {0}
        assert "block" in result.kept[0]
        assert not result.rejected
        with pytest.raises(Unavailable, match="block"):
            backend.write(batch.only([0]))
        ask(backend, "PUT", f"/{name}/_settings", {f"index.{block}": None})
        assert backend.write(batch.only(result.kept)) == ACCEPTED
        assert self.ids(backend) == sorted(record.id for record in batch.records)

    @pytest.mark.promise("what a person must mend keeps everything and says the remedy")
    def test_an_index_that_takes_nothing_keeps_its_records(self, backend: SearchBackend) -> None:
        name = self.make_index(backend)
        ask(backend, "POST", f"/{name}/_close")
        batch = make_batch(*counters(2))
        with pytest.raises(Misconfigured, match="closed"):
            backend.write(batch)
        ask(backend, "POST", f"/{name}/_open?wait_for_active_shards=1")
        ask(backend, "PUT", f"/{name}/_settings", {"index.default_pipeline": "no-such-pipeline"})
        with pytest.raises(Misconfigured, match="pipeline"):
            backend.write(batch)
        ask(backend, "PUT", f"/{name}/_settings", {"index.default_pipeline": None})
        assert backend.write(batch) == ACCEPTED

    def test_a_request_larger_than_servers_take_is_halved_until_it_fits(
        self, backend: SearchBackend, tmp_path: Path
    ) -> None:
        big = "x" * 250_000
        batch = make_batch(*(Record(at(i), EVENT, "big", f"{i}{big}") for i in range(90)))
        with pytest.raises(TooLarge, match=str(BODY_BYTES)):
            backend.write(batch)
        assert deliver_at_once(backend, batch, tmp_path / "agent") == {}
        assert self.ids(backend) == sorted(record.id for record in batch.records)

    def test_what_an_index_cannot_hold_is_rejected_alone_and_with_the_servers_reason(
        self, backend: SearchBackend
    ) -> None:
        long = "x" * 40_000
        bad = {
            "name": Record(at(0), GAUGE, long, 1),
            "unit": Record(at(0), GAUGE, "g", 1, unit=long),
            "tag": Record(at(0), GAUGE, "g", 1, {"plan": long}),
            "key": Record(at(0), GAUGE, "g", 1, {long: "pro"}),
        }
        batch = make_batch(*counters(2), *bad.values(), *counters(2))
        result = backend.write(batch)
        assert set(result.rejected) == {2, 3, 4, 5}
        assert all("immense" in reason for reason in result.rejected.values()), result.rejected
        assert not result.kept
        assert len(self.ids(backend)) == 4

    # --- one record, one document -------------------------------------------------------------------------------------

    def test_an_own_id_is_one_document_whatever_the_day(self, backend: SearchBackend) -> None:
        days = [Record(at(day * DAY_SECONDS), GAUGE, "order", day, own_id="order-7") for day in (0, 40, 3)]
        for record in days:
            assert backend.write(make_batch(record)) == ACCEPTED
        refresh(backend)
        assert [record.value for record in backend.records(Query())] == [40]

    def test_own_ids_longer_than_a_server_takes_are_told_apart(self, backend: SearchBackend) -> None:
        long = ["ü" * 255, "ü" * 256, "ü" * 257, "🎉" * 255, "🎉" * 254 + "x"]
        batch = make_batch(*(Record(at(i), GAUGE, "g", i, own_id=text) for i, text in enumerate(long)))
        for _ in range(2):
            assert backend.write(batch) == ACCEPTED
        assert self.ids(backend) == sorted(long)

    def test_a_write_never_asks_for_a_refresh(self, backend: SearchBackend) -> None:
        ask(backend, "PUT", f"/{self.make_index(backend)}/_settings", {"index.refresh_interval": "-1"})
        backend.write(make_batch(*counters(5)))
        assert list(backend.records(Query())) == []
        assert len(self.ids(backend)) == 5
