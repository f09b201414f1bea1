"""`tallystick spool`: looking into segments, and mending them without losing a readable line."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.cli.calling import answer, call, lines

from tallystick import Metrics
from tallystick.agent.agent import Agent
from tallystick.agent.election import elected, somebody_delivers
from tallystick.backends.memory import MemoryBackend
from tallystick.codec import decode_header, encode_header
from tallystick.pipelines.agents import spool_agent
from tallystick.queries import Query
from tallystick.records import Header
from tallystick.spool.account import account
from tallystick.spool.folder import Folder
from tallystick.spool.repair import rebuilt_header, repair


def spooled(home: Path, count: int = 10) -> Path:
    """The segment of an application that has ended; nothing of it was delivered."""
    with Metrics(deliver="off", home=home, app="shop", tags={"env": "prod"}, segment_bytes=65_536) as metrics:
        for number in range(count):
            metrics.increment("a", number)
    folder = Folder(home)
    return folder.segment(folder.segment_ids()[-1])


def damage(path: Path, *numbers: int) -> None:
    """Spoil these lines; 0 is the header."""
    parts = path.read_bytes().split(b"\n")
    for number in numbers:
        parts[number] = parts[number][:10] + b"#" * 5 + parts[number][15:]
    path.write_bytes(b"\n".join(parts))


def test_list_says_who_wrote_a_segment_and_what_is_left(home: Path) -> None:
    spooled(home)
    with Metrics(deliver="off", app="living") as metrics:
        metrics.increment("b")
        dead, living = answer("spool", "list")
    assert (dead["header"]["app"], dead["in_use"], dead["lines"]) == ("shop", False, 10)
    assert (living["header"]["app"], living["in_use"], living["lines"]) == ("living", True, 1)
    assert "shop, pid" in call("spool", "list").stdout


def test_dump_gives_the_raw_lines_and_with_json_records_with_ids(home: Path) -> None:
    path = spooled(home, 3)
    raw = call("spool", "dump").stdout
    assert raw.encode() == path.read_bytes()
    found = lines("spool", "dump", "--json")
    assert [one["value"] for one in found] == [0, 1, 2]
    assert found[0]["id"] == f"{path.stem}-{len(path.read_bytes().splitlines()[0]) + 1}"


def test_check_finds_each_damaged_line_by_its_place(home: Path) -> None:
    path = spooled(home)
    assert call("spool", "check").stdout == "10 lines in 1 segments, 0 damaged\n"
    damage(path, 3)
    place = len(b"\n".join(path.read_bytes().split(b"\n")[:3])) + 1
    shown = call("spool", "check", exits=1).stdout
    assert f"default: {path.stem}-{place}: damaged line" in shown
    assert answer("spool", "check", exits=1)["damage"][0]["place"] == f"{path.stem}-{place}"


def test_check_leaves_a_newer_format_alone_and_says_so(home: Path) -> None:
    path = spooled(home)
    path.write_bytes(path.read_bytes().replace(b'"tallystick":1', b'"tallystick":7'))
    assert "format 7" in call("spool", "check", exits=1).stdout
    before = path.read_bytes()
    assert "upgrade tallystick" in call("spool", "repair", "--yes", exits=1).stdout
    assert path.read_bytes() == before


def test_repair_asks_first(home: Path) -> None:
    path = spooled(home)
    damage(path, 3)
    before = path.read_bytes()
    call("spool", "repair", exits=1, types="n\n")
    assert path.read_bytes() == before
    assert "1 lines moved to the dead letters" in call("spool", "repair", types="y\n").stdout
    assert call("spool", "repair", "--yes").stdout == "nothing to repair\n"


def test_repair_leaves_a_segment_alone_whose_writer_lives(home: Path) -> None:
    with Metrics(deliver="off") as metrics:
        metrics.increment("a")
        assert call("spool", "repair", "--yes").stdout == "nothing to repair\n"
        metrics.increment("a")
    assert [one["name"] for one in lines("spool", "dump", "--json")] == ["a", "a"]


def test_repair_does_not_start_while_an_agent_delivers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.agent.election.GIVE_WAY_SECONDS", 0.2)
    spooled(home)
    agent = spool_agent(Folder(home), MemoryBackend())
    agent.start()
    while not somebody_delivers(agent.folder):
        time.sleep(0.01)
    try:
        assert "an agent is delivering" in call("spool", "repair", "--yes", exits=1).stderr
    finally:
        agent.stop(5)


@settings(max_examples=20)
@example(numbers={0, 1, 2, 10}, settled=0)
@example(numbers={0, 4, 5}, settled=3)
@given(numbers=st.sets(st.integers(0, 10), max_size=11), settled=st.integers(0, 9))
def test_after_repair_every_readable_line_is_delivered_once_under_its_old_id(numbers: set[int], settled: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        path, folder, backend = spooled(Path(place)), Folder(place), MemoryBackend()
        ids = [json.loads(line)["id"] for line in call("spool", "dump", "--json", "--home", place).stdout.splitlines()]
        agent = spool_agent(folder, backend, batch_records=1)
        _deliver(agent, backend, settled)
        damage(path, *numbers)
        with elected(folder):
            repair(folder, 10_000_000)
        assert account(folder).imbalance() == {}
        assert spool_agent(folder, backend).run("passed")
        stored = {record.id: record.value for record in backend.records(Query("*"))}
        readable = {n for n in range(1, 11) if n <= settled or n not in numbers}
        assert set(stored) == {ids[n - 1] for n in readable}, "nothing readable is lost, and nothing has a new id"
        assert {record.app for record in backend.records(Query("*"))} <= {"shop"}, "the header was written anew"
        books = account(folder)
        assert books.imbalance() == {}
        assert books.pending.total() == 0
        assert books.delivered.total() == len(readable), "and nothing was delivered again"
        assert books.dead.total() == 10 - len(readable) + (0 in numbers)


def _deliver(agent: Agent, backend: MemoryBackend, count: int) -> None:
    """Deliver so many records, one at a time, and end in good order."""
    if not count:
        return
    write = backend.write

    def counting(batch: object) -> object:
        done = write(batch)  # type: ignore[arg-type]
        if len(list(backend.records(Query("*")))) >= count:
            agent.finish(0)
        return done

    backend.write = counting  # type: ignore[method-assign, assignment]
    agent.run("stopped")
    backend.write = write  # type: ignore[method-assign]


HEADER = Header(1, "0198f3000000aaaaaaaaaaaa", "web-1", 4242, "shop", 1763683200000000000, {"env": "prod"})


@pytest.mark.parametrize(
    ("spoiled", "kept"),
    [
        (b'"host"', {"pid": 4242, "app": "shop", "tags": {"env": "prod"}}),
        (b'"tallystick"', {"pid": 4242, "app": "shop", "tags": {"env": "prod"}, "host": "web-1"}),
        (b'{"env":"prod"}', {"pid": 4242, "app": "shop", "tags": {}, "host": "web-1"}),
    ],
)
def test_a_header_is_written_anew_from_what_can_be_read_of_it(spoiled: bytes, kept: dict[str, object]) -> None:
    line = encode_header(HEADER)[:-1].replace(spoiled, b"\0" * len(spoiled))
    new = rebuilt_header(line, HEADER.segment)
    assert new is not None
    assert len(new) == len(line)
    found = decode_header(new)
    assert found.segment == HEADER.segment
    assert {name: getattr(found, name) for name in kept} == kept


@given(line=st.binary(max_size=200).filter(lambda line: b"\n" not in line))
def test_a_rebuilt_header_fits_and_can_be_read_whatever_was_left_of_the_old_one(line: bytes) -> None:
    new = rebuilt_header(line, HEADER.segment)
    if new is None:
        assert len(line) < 60
    else:
        assert len(new) == len(line)
        assert decode_header(new).segment == HEADER.segment
