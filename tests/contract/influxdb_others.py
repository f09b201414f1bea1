"""What another tool wrote to an InfluxDB, of any version, and how it is to be asked for."""

from __future__ import annotations

import pytest

from tallystick.backends.base import Foreign, ReadsForeign
from tallystick.backends.memory import answer
from tallystick.queries import Query
from tallystick.records import Record
from tallystick.testing import at

_ESCAPED = {"free": "free", 'pro\'s "x"': 'pro\'s\\ "x"', "a b,c=d": "a\\ b\\,c\\=d"}

KNOWN = [
    Record(at(index * 7), "gauge" if index % 3 else "counter", f"n{index % 2}", index * 37 % 101 / 4, {"plan": plan})
    for index, plan in enumerate([*_ESCAPED] * 20)
]

LINES = [
    f"old,what={r.name},how={r.kind},Plan={_ESCAPED[r.tags['plan']]} took={r.value},size=2i {r.timestamp_ns}"
    for r in KNOWN
]


def assert_answered_like_ours(backend: ReadsForeign, aggregate: str) -> None:
    """`LINES` are there: the answers are those of a memory backend that has `KNOWN`."""
    foreign = Foreign(source="old", time="time", value="took", name="what", kind="how", tags={"plan": "Plan"})
    for query in (
        Query(aggregate=aggregate),
        Query("n1", aggregate=aggregate, by="plan", bucket="1m"),
        Query("n*", aggregate=aggregate, where={"plan": ['pro\'s "x"', "free"]}, kinds="counter", by="nothing"),
        Query(aggregate=aggregate, start=at(30) / 1e9, end=at(200) / 1e9, bucket=7.777),
        Query("other", aggregate=aggregate),
        Query(aggregate=aggregate, where={"unknown": "x"}),
    ):
        wanted, found = answer(KNOWN, query), backend.query_foreign(query, foreign)
        assert [(s.name, s.tags) for s in found] == [(s.name, s.tags) for s in wanted], query
        for one, other in zip(found, wanted, strict=True):
            assert [moment for moment, _ in one.points] == [moment for moment, _ in other.points], query
            values = [value for _, value in one.points]
            assert values == pytest.approx([value for _, value in other.points], rel=1e-9), query
