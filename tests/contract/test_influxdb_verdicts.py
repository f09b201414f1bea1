"""How refusals of InfluxDB 1 and 2 become verdicts: who is rejected, who is kept, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.faults import write_once, write_until_stored
from tests.contract.http_gate import HttpGate
from tests.contract.influxdb import drop, fresh, is_write, names, new_name, server_of, url_of, write_lines
from tests.services import service

from tallystick import Metrics
from tallystick.agent.attempt import Attempt
from tallystick.agent.delivery import Deliverer
from tallystick.agent.report import Report
from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.backends.influxdb.lines import Native
from tallystick.errors import Misconfigured, TooLarge, Unavailable
from tallystick.pipelines.agents import spool_agent
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, Batch, Record
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder
from tallystick.testing import at, counters, make_batch
from tallystick.testing.hostile import poison

pytestmark = pytest.mark.service("influxdb1", "influxdb2")

both = pytest.mark.parametrize("version", [1, 2])


@pytest.fixture
def backend(version: int) -> Iterator[InfluxdbBackend]:
    with fresh(version) as backend:
        yield backend


@pytest.fixture
def gate(version: int) -> Iterator[HttpGate]:
    with HttpGate(service(f"influxdb{version}")) as gate:
        yield gate


# --- a verdict for each record ----------------------------------------------------------------------------------------


@both
def test_a_field_type_conflict_rejects_only_the_conflicting_records(backend: InfluxdbBackend) -> None:
    """Conflicts in three measurements, of which the server names one."""
    write_lines(backend, f"ints value=7i {at(0)}", f'words value="x" {at(0)}', f'times timestamp_ns="x" {at(0)}')
    taken = ("ints", "words", "times")
    records = [Record(at(i), GAUGE, (*taken, "free", "hits")[i % 5], i / 2, {"n": str(i % 7)}) for i in range(1_000)]
    batch = make_batch(*records)
    for _ in range(2):
        rejected = backend.write(batch).rejected
        assert set(rejected) == {index for index, record in enumerate(records) if record.name in taken}
        assert all("field type conflict" in why for why in rejected.values())
        assert names(backend) == ["free"] * 200 + ["hits"] * 200


class WithBadLines(Native):
    """The library's shape, but the lines of some records are such that no server can parse them."""

    def lines(self, batch: Batch) -> tuple[list[str], list[int], dict[int, str]]:
        lines, indices, rejected = Native().lines(batch)
        spoiled = {"unquoted": "unquoted text=a 1", "bare": "bare", "number": "number value=1..2 1"}
        made = [spoiled.get(batch.records[index].name, line) for line, index in zip(lines, indices, strict=True)]
        return made, indices, rejected


@both
def test_lines_that_cannot_be_parsed_are_rejected_and_their_neighbours_stored_once(
    version: int, backend: InfluxdbBackend
) -> None:
    """Version 1 stores the good lines of a refused batch and version 2 none: the end is the same."""
    kinds = ("free", "unquoted", "hits", "bare", "number")
    records = [Record(at(i), GAUGE, kinds[i % 5] if i % 7 == 0 else "free", i) for i in range(1_000)]
    batch = make_batch(*records)
    bad = {i for i, record in enumerate(records) if record.name in ("unquoted", "bare", "number")}
    lines = WithBadLines().lines(batch)[0]
    assert server_of(backend).write("\n".join(lines).encode()).status == 400
    assert len(names(backend)) == (1_000 - len(bad) if version == 1 else 0)
    other = InfluxdbBackend(backend._url, shape=WithBadLines())
    for _ in range(2):
        rejected = other.write(batch).rejected
        assert set(rejected) == bad
        assert all("unable to parse" in why for why in rejected.values())
        assert names(backend) == sorted(record.name for i, record in enumerate(records) if i not in bad)
    other.close()


@both
def test_in_the_end_every_good_record_is_stored_once_and_every_bad_one_is_a_dead_letter(
    version: int, tmp_path: Path
) -> None:
    """From the call that records to the agent that is done."""
    name = new_name(version)
    with fresh(version, name=name) as backend:
        write_lines(backend, f"taken value=7i {time.time_ns()}")
        with Metrics(url_of(version, name=name), home=tmp_path, deliver="off", exit_timeout_seconds=0) as metrics:
            for index in range(2_000):
                metrics.gauge("taken" if index % 10 == 3 else "free", index)
        (pipeline,) = (path for path in tmp_path.iterdir() if path.name != "home")
        folder = Folder(tmp_path, pipeline.name)
        assert spool_agent(folder, backend).run("empty")
        letters = DeadLetters(folder).state().letters.values()
        assert len(letters) == 200
        assert {letter.batch().records[0].value for letter in letters} == set(range(3, 2_000, 10))
        assert all(letter.name == "taken" and "field type conflict" in letter.reason for letter in letters)
        assert [record.value for record in backend.records(Query())] == [i for i in range(2_000) if i % 10 != 3]


@both
def test_a_few_bad_records_are_found_in_a_few_calls(version: int, gate: HttpGate) -> None:
    backend = InfluxdbBackend.from_url(url_of(version, gate.port))
    backend.open()
    write_lines(backend, f"ints value=7i {at(0)}")
    records = [Record(at(i), GAUGE, "ints" if i in (17, 18, 4_000) else f"free.{i % 50}", i) for i in range(5_000)]
    gate.requests.clear()
    assert set(backend.write(make_batch(*records)).rejected) == {17, 18, 4_000}
    assert len(gate.requests) < 80
    assert len(names(backend)) == 4_997
    drop(backend)
    backend.close()


@both
def test_records_older_than_the_retention_are_rejected_with_the_reason(version: int) -> None:
    with fresh(version, retention_days=1) as backend:
        now = time.time_ns()
        ages = [0, 30, 0.1, 400, 0.5, 31, 0]
        records = [Record(now - round(age * 86_400e9), COUNTER, "hits", 1, {"n": str(i)}) for i, age in enumerate(ages)]
        rejected = backend.write(make_batch(*records)).rejected
        assert set(rejected) == {1, 3, 5}
        assert all("retention" in why.lower() for why in rejected.values())
        assert len(names(backend)) == 4


@both
def test_a_conflict_and_an_old_time_in_one_batch_are_both_found(version: int) -> None:
    with fresh(version, retention_days=1) as backend:
        now = time.time_ns()
        write_lines(backend, f"ints value=7i {now}")
        records = [
            Record(now - (40 * 86_400 * 10**9 if i % 10 == 3 else 0), GAUGE, "ints" if i % 4 == 0 else "free", i)
            for i in range(200)
        ]
        rejected = backend.write(make_batch(*records)).rejected
        assert set(rejected) == {i for i in range(200) if i % 10 == 3 or i % 4 == 0}
        assert len(names(backend)) == 200 - len(rejected)


@both
@pytest.mark.parametrize("shape", range(14))
def test_one_bad_record_of_a_thousand_costs_only_itself(backend: InfluxdbBackend, shape: int, tmp_path: Path) -> None:
    """In the first cycle of the agent's delivery, without a second try."""
    bad = [*poison()][shape]
    records = [Record(at(i), COUNTER, "poisoned", 1) for i in range(1_000)]
    records[500] = bad
    batch = make_batch(*records)
    folder = Folder(tmp_path).open()
    attempt, report = Attempt(folder), Report(folder, backend.address, "process")
    rejected = Deliverer(backend, attempt, report, lambda _: False).deliver(batch)
    attempt.close()
    assert set(rejected) <= {500}
    assert names(backend).count("poisoned") == 999


# --- what is kept, and for how long -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("status", "headers", "error", "seconds"),
    [
        (429, {"Retry-After": "7"}, Unavailable, 7.0),
        (503, {"Retry-After": "30"}, Unavailable, 30.0),
        (503, {}, Unavailable, None),
        (500, {}, Unavailable, None),
        (413, {}, TooLarge, None),
    ],
)
def test_a_server_in_trouble_is_waited_for_as_it_says(
    version: int, gate: HttpGate, status: int, headers: dict[str, str], error: type[Exception], seconds: float | None
) -> None:
    backend = InfluxdbBackend.from_url(url_of(version, gate.port))
    backend.open()
    batch = make_batch(*counters(5_000))
    gate.rule = lambda request: (status, headers, b'{"error": "in trouble"}') if is_write(request) else None
    with pytest.raises(error) as caught:
        backend.write(batch)
    assert getattr(caught.value, "retry_after_seconds", None) == seconds
    gate.rule = lambda _: None
    write_until_stored(backend, batch)
    assert len(names(backend)) == 5_000
    drop(backend)
    backend.close()


@both
@pytest.mark.parametrize(("status", "remedy"), [(401, ""), (403, "grant"), (404, "create it")])
def test_what_a_person_must_mend_keeps_everything_and_says_the_remedy(
    version: int, gate: HttpGate, status: int, remedy: str
) -> None:
    if status == 401:
        remedy = "user and password in the backend's URL" if version == 1 else "the token, which token_env"
    backend = InfluxdbBackend.from_url(url_of(version, gate.port))
    backend.open()
    gate.rule = lambda request: (status, {}, b'{"error": "no", "message": "no"}') if is_write(request) else None
    batch = make_batch(*counters(3))
    with pytest.raises(Misconfigured, match=remedy):
        backend.write(batch)
    gate.rule = lambda _: None
    write_once(backend, batch)
    assert len(names(backend)) == 3
    drop(backend)
    backend.close()


@both
def test_limits_on_series_are_for_a_person_to_raise_and_reject_nothing(version: int, gate: HttpGate) -> None:
    backend = InfluxdbBackend.from_url(url_of(version, gate.port))
    backend.open()
    said = b'{"error": "partial write: max-series-per-database limit exceeded: (1000000) dropped=2"}'
    gate.rule = lambda request: (400, {}, said) if is_write(request) else None
    with pytest.raises(Misconfigured, match="raise the limit"):
        backend.write(make_batch(*counters(3)))
    gate.rule = lambda _: None
    drop(backend)
    backend.close()
