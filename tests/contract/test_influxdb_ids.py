"""Records with ids of the caller's in InfluxDB 1 and 2: found again under any name, beside however many names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contract.influxdb import fresh, server_of, write_lines

from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.queries import Query
from tallystick.records import GAUGE, Batch, Record
from tallystick.testing import at, counters, make_batch

pytestmark = pytest.mark.service("influxdb1", "influxdb2")

both = pytest.mark.parametrize("version", [1, 2])


@pytest.fixture
def backend(version: int) -> Iterator[InfluxdbBackend]:
    with fresh(version) as backend:
        yield backend


def documents(step: int, *ids: str, name: str = "order") -> Batch:
    return make_batch(*(Record(at(step), GAUGE, name, step, own_id=own_id) for own_id in ids))


def stored(backend: InfluxdbBackend) -> list[tuple[str | None, object]]:
    return sorted((record.own_id, record.value) for record in backend.records(Query(["order", "other"])))


@both
def test_ids_beside_thousands_of_names_take_no_call_that_is_long(version: int) -> None:
    with fresh(version, timeout_seconds=5) as backend:
        for first in range(0, 6_000, 2_000):
            numbers = range(first, first + 2_000)
            other = 'kind=custom,writer=w id="p{0}",timestamp_ns=1i,value=1'
            lines = [f"n.{i},shelf={i % 16},{other.format(i)} {at(0)}" for i in numbers]
            write_lines(backend, *lines)
        ids = [f"id-{number}" for number in range(200)]
        assert not backend.write(documents(1, *ids)).rejected
        assert not backend.write(documents(2, *ids[:5], name="other")).rejected
        assert stored(backend) == sorted([(own_id, 2 if own_id in ids[:5] else 1) for own_id in ids])


@both
def test_an_id_is_taken_as_it_stands_and_replaces_no_other(backend: InfluxdbBackend) -> None:
    ids = [
        "a.b",
        "axb",
        "a|b",
        "a",
        "b",
        "^a$",
        "a/b",
        "a\\b",
        "it's",
        'a"b',
        "é😀",
        "a\nb",
        "A",
        "[a]",
        "{1}",
        "%41",
        " ",
    ]
    backend.write(documents(1, *ids))
    backend.write(documents(2, *ids[::2], name="other"))
    assert stored(backend) == sorted((own_id, 2 if own_id in ids[::2] else 1) for own_id in ids)


@both
def test_an_id_that_could_not_be_found_again_is_rejected_with_the_reason(backend: InfluxdbBackend) -> None:
    longest, too_long = "é" * 16_000, "é" * 16_001
    for step in (1, 2):
        result = backend.write(documents(step, "a", longest, too_long, "b"))
        assert list(result.rejected) == [2]
        assert "16001 characters" in result.rejected[2]
    assert stored(backend) == [("a", 2), ("b", 2), (longest, 2)]


@both
@pytest.mark.parametrize("own_id", ["a\0b", "\ud800"])
def test_an_id_that_is_no_text_costs_only_itself(backend: InfluxdbBackend, own_id: str) -> None:
    batch = make_batch(*counters(2), Record(at(0), GAUGE, "order", 1, own_id=own_id), *documents(1, "a").records)
    assert list(backend.write(batch).rejected) == [2]
    assert stored(backend) == [("a", 1)]


@both
def test_what_another_tool_keeps_under_the_same_tags_and_fields_is_let_alone(backend: InfluxdbBackend) -> None:
    for shelf in range(16):
        write_lines(backend, f"f1,shelf={shelf} id=1i,value=1 {at(0)}", f'f2,shelf={shelf} id="a",value=1 {at(0)}')
        write_lines(backend, f'f3,shelf={shelf},writer=x id="a",timestamp_ns="x" {at(0)}')
    backend.write(documents(1, "a"))
    backend.write(documents(2, "a"))
    assert stored(backend) == [("a", 2)]
    for name in ("f1", "f2", "f3"):
        assert sum(len(rows.values) for rows in server_of(backend).ask([f"SELECT * FROM {name}"])[0]) == 16
