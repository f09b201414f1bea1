"""The contract, part four: hostile texts are stored and asked for like any other, and poison harms no neighbour."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import pytest

from tallystick.agent.attempt import Attempt
from tallystick.agent.delivery import Deliverer
from tallystick.agent.report import Report
from tallystick.backends.base import Backend
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, Batch, Record
from tallystick.spool.folder import Folder
from tallystick.testing.answers import Answers
from tallystick.testing.base import deliver
from tallystick.testing.builders import at, by_id, counters, make_batch

HOSTILE: Final = (
    *("'", '"', "`", "''", '"; DROP TABLE points; --', "' OR '1'='1", "%", "_", "100%_", "\\", "\\'", "\\n", "a\\"),
    *("$", "$where", "$.name", "{", "}", "{}", "{0}", "${HOME}", "%s", "?", ":name", "@x", "[0]", "[a-z]", "*", "a*b"),
    *(".", "..", "a.b.c", "/", "a/b", "#", "a,b", "a=b", "a b", " ", "  lead", "trail  ", "\t", "a\tb", "\r\n", "a\nb"),
    *("null", "None", "NaN", "true", "0", "-1", "1e5", "[]", '{"a":1}', "select", "order", "group", "value", "name"),
    *(
        "_id",
        "_source",
        "time",
        "timestamp",
        "host",
        "ünï",
        "日本語",
        "🎉",
        "e\u0301",
        "é",
        "\u202eabc",
        "\ufeff",
        "\u2028",
    ),
    *("<script>", "&amp;", "a|b", "a;b", "(", ")", "^", "~", "!", "x" * 255, "ü" * 127, "UPPER", "upper"),
)
"""Texts that break what pastes texts together."""

GOOD: Final = Record(at(0), GAUGE, "poison", 1, {"plan": "pro"})
PATTERNS: Final = (
    "?",
    "??",
    "*[0]",
    "[0]*",
    "[a-z]?",
    "?a-z]",
    "*_*",
    "*%*",
    "\\*",
    "*\n*",
    "*.*",
    "$*",
    "U*",
    "é*",
    "*.*.*",
)
"""Only `*` and `?` are special in them."""


class Hostile(Answers):
    hostile_texts: ClassVar[tuple[str, ...]] = HOSTILE
    """The texts to try. Fewer only for a server with a fault of its own, which the test file then names."""

    def test_hostile_names_are_stored_and_found(self, backend: Backend) -> None:
        batch = make_batch(*(Record(at(i), COUNTER, text, i + 1) for i, text in enumerate(self.hostile_texts)))
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)
        records = self.oracle(batch.records)
        for text in (*self.hostile_texts, *PATTERNS):
            self.assert_answer(backend, records, Query(text))

    def test_hostile_tags_are_stored_and_found(self, backend: Backend) -> None:
        batch = make_batch(
            *(Record(at(i), COUNTER, "keys", i + 1, {text: "yes"}) for i, text in enumerate(self.hostile_texts)),
            *(Record(at(i), COUNTER, "values", i + 1, {"tag": text}) for i, text in enumerate(self.hostile_texts)),
            Record(at(0), COUNTER, "all", 1, dict.fromkeys(self.hostile_texts, "yes")),
            Record(at(0), COUNTER, "words", 1, dict.fromkeys(self.hostile_texts, "true"), self.hostile_texts),
        )
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)
        records = self.oracle(batch.records)
        self.assert_answer(backend, records, Query("values", by="tag"))
        for text in self.hostile_texts:
            self.assert_answer(backend, records, Query("keys", where={text: "yes"}))
            self.assert_answer(backend, records, Query("*", by=text))
            self.assert_answer(backend, records, Query("values", where={"tag": text}))

    def test_hostile_values_units_and_metadata_are_stored(self, backend: Backend) -> None:
        batch = make_batch(
            *(Record(at(i), "note", "value", text) for i, text in enumerate(self.hostile_texts)),
            *(Record(at(i), GAUGE, "unit", i, unit=text) for i, text in enumerate(self.hostile_texts)),
            *(Record(at(i), GAUGE, "metadata", i, metadata={text: text}) for i, text in enumerate(self.hostile_texts)),
            *(Record(at(i), f"kind {text}", "kind", i) for i, text in enumerate(self.hostile_texts)),
            Record(at(0), "xml", "document", {text: {text: [text]} for text in self.hostile_texts}),
        )
        self.write(backend, batch)
        self.assert_stored(backend, *batch.records)
        records = self.oracle(batch.records)
        self.assert_answer(backend, records, Query("unit"))
        for text in self.hostile_texts:
            self.assert_answer(backend, records, Query("kind", kinds=f"kind {text}"))

    @pytest.mark.usefixtures("replacing")
    def test_hostile_own_ids_are_told_apart(self, backend: Backend) -> None:
        batch = make_batch(*(Record(at(i), GAUGE, "g", i, own_id=text) for i, text in enumerate(self.hostile_texts)))
        self.write(backend, batch, batch)
        self.assert_stored(backend, *batch.records)

    @pytest.mark.parametrize("shape", list(range(14)))
    def test_poison_harms_no_neighbour(self, backend: Backend, shape: int) -> None:
        """A record that no recorder lets through is stored or rejected, and rejected again; all others are stored."""
        batch = make_batch(*counters(40), poison()[shape], GOOD, *counters(40))
        bad, good = batch.records[40], batch.records[41]
        first, second = deliver(backend, batch), deliver(backend, batch)
        for result in (first, second):
            assert not result.kept
            assert set(result.rejected) <= {40}
            assert all(result.rejected.values()), "a rejection says why"
            found = by_id(self.stored(backend, Query("hits")))
            assert set(found) == {record.id for record in batch.records} - {bad.id, good.id}
        assert set(first.rejected) == set(second.rejected)
        if first.rejected:
            assert [record.id for record in self.stored(backend, Query("poison"))] == [good.id]
            mended = make_batch(Record(at(0), GAUGE, "mended", 1), segment=batch.segment, start=bad.offset)
            self.write(backend, mended)
            assert [record.name for record in self.stored(backend, Query("mended"))] == ["mended"]

    def test_of_a_mixed_batch_every_record_has_a_verdict_of_its_own(self, backend: Backend) -> None:
        """All bad shapes among good records: what is not rejected with a reason is stored, today and tomorrow."""
        bad = poison()
        batch = make_batch(*counters(20), *(record for one in bad for record in (one, GOOD)), *counters(20))
        places = range(20, 20 + 2 * len(bad), 2)
        first, second = deliver(backend, batch), deliver(backend, batch)
        assert not first.kept
        assert set(first.rejected) == set(second.rejected) <= set(places)
        assert all(first.rejected.values()), "a rejection says why"
        stored = {record.id for record in self.stored(backend)}
        assert stored == {record.id for index, record in enumerate(batch.records) if index not in first.rejected}

    @pytest.mark.parametrize("shape", list(range(14)))
    def test_one_bad_record_in_a_thousand_costs_no_other_a_second_try(
        self, backend: Backend, shape: int, tmp_path: Path
    ) -> None:
        batch = make_batch(*counters(500), poison()[shape], *counters(499))
        rejected = deliver_at_once(backend, batch, tmp_path / "agent")
        assert set(rejected) <= {500}
        found = {record.id for record in self.stored(backend, Query("hits"))}
        assert found == {record.id for record in batch.records if record.name == "hits"}

    @pytest.mark.parametrize("rate", [0.0, -0.5, 1.5, float("nan"), float("inf")])
    @pytest.mark.usefixtures("answering")
    def test_a_sample_rate_that_no_sum_can_be_divided_by_is_rejected(self, backend: Backend, rate: float) -> None:
        bad = msgspec.structs.replace(GOOD, sample_rate=rate)
        batch = make_batch(*counters(5), bad, GOOD, msgspec.structs.replace(bad, value="text", own_id="mine"))
        result = deliver(backend, batch)
        assert set(result.rejected) == {5, 7}
        assert all("sample_rate" in reason for reason in result.rejected.values())
        self.settle(backend)
        assert backend.query(Query("poison", aggregate="count"))[0].points == [(0.0, 1.0)]


def deliver_at_once(backend: Backend, batch: Batch, folder: Path) -> dict[int, str]:
    """The agent's own delivery, in its first cycle: having to wait for a second one is an error."""
    home = Folder(folder).open()
    attempt = Attempt(home)

    def pause(seconds: float) -> bool:
        raise AssertionError(f"nothing of this is to be waited for, {seconds} s")

    try:
        return Deliverer(backend, attempt, Report(home, backend.address, "thread"), pause).deliver(batch)
    finally:
        attempt.close()


def poison(good: Record = GOOD) -> list[Record]:
    """This record in each bad shape; all else of it is shared, as equal tags are in a spool."""
    deep: Any = 1
    for _ in range(500):
        deep = {"d": deep}
    bad: list[dict[str, Any]] = [
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": 2**63},
        {"value": -(2**70)},
        {"value": b"bytes"},
        {"value": object()},
        {"value": "lone surrogate \ud800"},
        {"value": {1, 2}},
        {"value": {"deep": deep}},
        {"value": {"mixed": [1, object()]}},
        {"name": "poison \ud800"},
        {"tags": {"a": "\udfff"}},
        {"metadata": {"a": object()}},
        {"timestamp_ns": 2**70},
    ]
    return [msgspec.structs.replace(good, **fields) for fields in bad]
