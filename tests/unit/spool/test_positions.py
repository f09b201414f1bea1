"""The agent's notebook: old or new and whole, believed only when whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.codec import with_checksum
from tallystick.errors import SpoolTooNew
from tallystick.spool.folder import Folder
from tallystick.spool.positions import NAMES, Positions

relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def saved(folder: Folder) -> Positions:
    folder.positions.unlink(missing_ok=True)
    positions = Positions(folder)
    positions.since = 1_763_683_200.5  # the same bytes each time
    positions.at = {"a": 4711}
    positions.count_accepted({"n": 5, "m": 2})
    positions.count_delivered({"n": 3})
    positions.count_dropped("drop_old", {"n": 2})
    positions.refused["nan"] = Counter(n=1)
    positions.merged.add("x.tally")
    positions.save(durable=True)
    return positions


def test_what_is_saved_is_loaded(folder: Folder) -> None:
    written, read = saved(folder), Positions(folder)
    for part in ("since", "at", "accepted", "delivered", "dropped", "refused", "merged"):
        assert getattr(read, part) == getattr(written, part)
    assert not read.fresh
    assert not read.changed


def test_without_a_file_counting_begins(folder: Folder) -> None:
    assert Positions(folder).fresh


@relaxed
@given(st.data())
def test_any_change_of_the_file_makes_it_unbelieved_or_leaves_it_as_it_was(folder: Folder, data: st.DataObject) -> None:
    written = saved(folder)
    raw = bytearray(folder.positions.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert"])):
            case "change":
                raw[place] = data.draw(st.integers(0, 255))
            case "cut":
                del raw[place : place + data.draw(st.integers(1, 30))]
            case "insert":
                raw[place:place] = data.draw(st.binary(min_size=1, max_size=5))
        if not raw:
            break
    folder.positions.write_bytes(raw)
    read = Positions(folder)
    assert read.fresh or (read.at, read.accepted) == (written.at, written.accepted)
    assert not read.fresh or read.at == {}


@relaxed
@given(st.binary(max_size=200) | st.sampled_from([b"[" * 10_000, b'{"a":' * 10_000, b"9" * 10_000, b"{}\n1", b"\n0\n"]))
def test_nonsense_never_stops_a_start(folder: Folder, nonsense: bytes) -> None:
    folder.positions.write_bytes(nonsense)
    assert Positions(folder).fresh
    folder.positions.write_bytes(with_checksum(nonsense))
    assert Positions(folder).fresh


def test_a_newer_format_is_refused_by_name_with_the_remedy(folder: Folder) -> None:
    folder.positions.write_bytes(with_checksum(b'{"tallystick":2,"anything":[]}'))
    with pytest.raises(SpoolTooNew, match=r"positions\.json has format 2, known is up to 1; upgrade tallystick"):
        Positions(folder)


def test_a_garbled_file_that_says_a_newer_format_is_only_garbled(folder: Folder) -> None:
    saved(folder)
    folder.positions.write_bytes(folder.positions.read_bytes().replace(b'"tallystick":1', b'"tallystick":7'))
    assert Positions(folder).fresh


def test_a_process_that_dies_in_a_save_leaves_the_old_file(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(folder)
    before = folder.positions.read_bytes()

    class Died(BaseException):
        pass

    def die(old: Path, new: Path) -> None:
        raise Died

    monkeypatch.setattr("tallystick.spool.disk.rename", die)
    positions = Positions(folder)
    positions.at["a"] = 5000
    with pytest.raises(Died):
        positions.save(durable=False)
    assert folder.positions.read_bytes() == before
    assert Positions(folder).at == {"a": 4711}


def test_beyond_so_many_names_further_ones_are_counted_together(folder: Folder) -> None:
    positions = Positions(folder)
    names = [f"n{number}" for number in range(NAMES + 100)]
    positions.count_accepted(names)
    positions.count_delivered(names)
    assert positions.accepted == positions.delivered
    assert positions.accepted["*"] == 100
    assert sum(positions.accepted.values()) == NAMES + 100


def test_the_file_is_json_that_people_can_read(folder: Folder) -> None:
    saved(folder)
    first, second, rest = folder.positions.read_bytes().split(b"\n")
    assert msgspec.json.decode(first)["at"] == {"a": 4711}
    assert int(second) > 0
    assert rest == b""
