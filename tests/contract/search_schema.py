"""The schema that a search backend makes, notices to be changed, mends and prunes."""

from __future__ import annotations

import pytest
from tests.contract.search import DAY, SearchStore, ask, refresh, remove

from tallystick.backends._search import SearchBackend
from tallystick.backends.base import ACCEPTED
from tallystick.errors import Misconfigured
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, Record
from tallystick.testing import at, counters, make_batch


class SearchSchema(SearchStore):
    def test_the_schema_is_ours_and_not_guessed(self, backend: SearchBackend) -> None:
        backend.write(make_batch(Record(at(0), GAUGE, "g", 1.5, {"plan": "pro"}, metadata={"a": 1}, own_id="x")))
        backend.write(make_batch(Record(at(0), "xml", "g", {"deep": {"er": 1}}, unit="s", sample_rate=0.5)))
        mappings = ask(backend, "GET", f"/{backend.index}/_mapping")
        assert set(mappings) == {f"{backend.index}-{DAY}", f"{backend.index}-unique"}
        for index in mappings.values():
            fields = index["mappings"]["properties"]
            types = {name: field.get("type", "object") for name, field in fields.items()}
            assert types["@timestamp"] == "date_nanos"
            assert types["value"] == types["weight"] == "double"
            assert {types[name] for name in ("name", "kind", "unit", "host", "app")} == {"keyword"}
            assert fields["document"]["enabled"] is fields["metadata"]["enabled"] is False
            assert not {"a", "deep", "plan"} & set(types), "nothing of the records' own was added to the mapping"

    def test_a_changed_template_is_noticed_and_mended(self, backend: SearchBackend) -> None:
        target = f"/_index_template/{backend.index}"
        (found,) = ask(backend, "GET", target)["index_templates"]
        template = {key: value for key, value in found["index_template"].items() if not key.endswith("_millis")}
        template["template"]["mappings"]["properties"]["value"] = {"type": "keyword"}
        template["template"]["settings"] = {"index": {"refresh_interval": "30s"}}
        ask(backend, "PUT", target, template)
        assert any("is not as it should be" in line.what for line in backend.check() if not line.ok)
        assert backend.setup() == [f"index template {backend.index} mended"]
        assert [line for line in backend.check() if not line.ok] == []
        assert backend.setup() == []
        (found,) = ask(backend, "GET", target)["index_templates"]
        mended = found["index_template"]["template"]
        assert mended["settings"]["index"]["refresh_interval"] == "30s", "the administrator's settings stay"
        assert mended["mappings"]["properties"]["value"] == {"type": "double"}

    def test_an_index_made_without_the_template_is_noticed_and_mended(self, backend: SearchBackend) -> None:
        ask(backend, "DELETE", f"/_index_template/{backend.index}")
        name = self.make_index(backend, mappings={"dynamic": False, "properties": {"name": {"type": "keyword"}}})
        other = self.make_index(backend, "not-ours", mappings={"properties": {}})
        before = make_batch(*counters(2))
        assert backend.write(before) == ACCEPTED
        found = " ".join(line.what for line in backend.check() if not line.ok)
        assert "is missing" in found
        assert f"{name} lacks the alias" in found
        assert f"{name} lacks the fields" in found
        assert other not in found
        done = backend.setup()
        assert len(done) == 3
        assert [line for line in backend.check() if not line.ok] == []
        assert backend.setup() == []
        after = make_batch(*counters(2))
        assert backend.write(after) == ACCEPTED
        refresh(backend)
        # The first two were indexed by the fields that there were: their time was not among them.
        assert backend.query(Query("hits", aggregate="count"))[0].points == [(0.0, 2.0)]

    def test_a_name_that_is_taken_is_said(self) -> None:
        backend = self.make()
        ask(backend, "PUT", f"/{backend.index}")
        backend.close()
        with pytest.raises(Misconfigured, match="must be free"):
            backend.open()
        with pytest.raises(Misconfigured, match="must be free"):
            backend.write(make_batch(*counters(1)))
        remove(backend)

    def test_without_setup_nothing_is_made(self) -> None:
        backend = self.make(setup=False)
        backend.open()
        assert ask(backend, "GET", f"/_index_template/{backend.index}") is None
        assert backend.setup() == [f"index template {backend.index} made"]
        remove(backend)

    def test_prune_cuts_through_a_day_and_through_the_own_ids(self, backend: SearchBackend) -> None:
        hours = [Record(at(hour * 3600), COUNTER, "hits", hour) for hour in range(-40, 20, 4)]
        own = [Record(at(hour * 3600), GAUGE, "order", hour, own_id=f"order-{hour}") for hour in (-30, -1, 1, 30)]
        assert backend.write(make_batch(*hours, *own)) == ACCEPTED
        refresh(backend)
        assert backend.prune(at(0) / 1e9) == 12
        refresh(backend)
        assert [record.value for record in backend.records(Query())] == [0, 1, 4, 8, 12, 16, 30]
        oldest = {index["name"]: index["oldest"] for index in backend.indices()}
        assert oldest == {
            f"{backend.index}-{DAY}": at(0) / 1e9,
            f"{backend.index}-2025.06.16": at(12 * 3600) / 1e9,
            f"{backend.index}-unique": at(3600) / 1e9,
        }
        assert backend.prune(at(0) / 1e9) == 0
