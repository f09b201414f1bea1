"""The schema that a search backend makes, notices to be changed, mends and prunes."""

from __future__ import annotations

import json

import pytest
from tests.contract.search import DAY, DAY_SECONDS, SearchStore, ask, refresh, remove

from tallystick.backends.base import ACCEPTED
from tallystick.backends.search.backend import SearchBackend
from tallystick.backends.search.shape import moment_text
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
        ask(backend, "POST", f"/{name}/_doc", {"name": "hits", "@timestamp": moment_text(at(0))})
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
        # The first one was indexed by the fields that there were: its time was not among them.
        assert backend.query(Query("hits", aggregate="count"))[0].points == [(0.0, 2.0)]

    @pytest.mark.parametrize("target", ["_index_template/{}", "{}-*"])
    def test_what_is_deleted_under_an_open_backend_is_made_again_and_its_records_are_seen(
        self, backend: SearchBackend, target: str
    ) -> None:
        today, tomorrow = make_batch(*counters(5)), make_batch(*(Record(at(DAY_SECONDS), COUNTER, "hits", 1),) * 10)
        assert backend.write(today) == ACCEPTED
        if target == "{}-*":
            ask(backend, "DELETE", f"/{backend.index}-{DAY}")
            today = today.only([])
        ask(backend, "DELETE", f"/_index_template/{backend.index}")
        assert backend.write(tomorrow) == ACCEPTED
        assert self.ids(backend) == sorted(record.id for batch in (today, tomorrow) for record in batch.records)
        assert [line for line in backend.check() if not line.ok] == []

    def test_nothing_is_accepted_into_an_index_that_no_query_sees(self) -> None:
        backend = self.make(setup=False)
        batch = make_batch(*counters(3), Record(at(0), GAUGE, "own", 1, own_id="x"))
        for _ in range(2):  # into an index that this request makes, then into one that is there
            with pytest.raises(Misconfigured, match="lacks the alias"):
                backend.write(batch)
        remove(backend)

    @pytest.mark.promise("what a person must mend keeps everything and says the remedy")
    def test_an_index_made_by_guessing_harms_no_other_and_its_remedy_is_commands(self, backend: SearchBackend) -> None:
        ask(backend, "DELETE", f"/_index_template/{backend.index}")
        guessing = self.make(backend.index, setup=False)
        lost = make_batch(*counters(3), *(Record(at(i), GAUGE, "own", i, {"p": "q"}, own_id="x") for i in range(2)))
        with pytest.raises(Misconfigured, match="lacks the alias"):
            guessing.write(lost)
        guessing.close()
        tomorrow = make_batch(Record(at(DAY_SECONDS), COUNTER, "hits", 1))
        assert backend.write(tomorrow) == ACCEPTED
        backend.setup()
        refresh(backend)
        assert backend.query(Query("hits", aggregate="sum"))[0].points == [(0.0, 1.0)]
        with pytest.raises(Misconfigured, match="DELETE"):
            backend.write(lost)
        remedies = [line.remedy for line in backend.check() if "as text" in line.what]
        assert len(remedies) == 2, "of the day and of the own ids"
        for command in "\n".join(remedies).splitlines():
            if command.startswith(("POST", "DELETE")):
                refresh(backend)
                method, target, *body = command.split(" ", 2)
                ask(backend, method, target, json.loads(body[0]) if body else None)
            elif command == "tallystick setup":
                backend.setup()
        assert [line for line in backend.check() if not line.ok] == []
        stored = sorted({record.id for batch in (lost, tomorrow) for record in batch.records})
        assert self.ids(backend) == stored
        assert backend.write(lost) == ACCEPTED
        assert self.ids(backend) == stored
        assert backend.query(Query("own", aggregate="last", by="p"))[0].points == [(0.0, 1.0)]

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
