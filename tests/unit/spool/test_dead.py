"""Dead letters: kept with their bytes, place, reason and time; retried, delivered, dropped; damage stays local."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from tests.unit.spool.conftest import line

from tallystick.codec import FORMAT, encode
from tallystick.records import Header
from tallystick.spool import dead as dead_module
from tallystick.spool.dead import DeadLetter, DeadLetters, letter
from tallystick.spool.folder import Folder

HEADER = Header(FORMAT, "a", "web-1", 7, "shop", 0, {"env": "prod"})


@pytest.fixture
def dead(folder: Folder) -> DeadLetters:
    return DeadLetters(folder)


def new_letter(offset: int, name: str = "n", reason: str = "no", text: bytes | None = None) -> DeadLetter:
    return letter(HEADER, offset, line(offset, name)[:-1] if text is None else text, reason)


def test_a_letter_keeps_bytes_place_reason_and_time(dead: DeadLetters) -> None:
    before = time.time()
    assert dead.add([new_letter(100, "größe", "no such column")]) == []
    (found,) = dead.state().letters.values()
    assert (found.id, found.offset, found.header, found.reason) == ("a-100", 100, HEADER, "no such column")
    assert found.raw == line(100, "größe")[:-1]
    assert found.name == "größe"
    assert before <= found.time <= time.time()
    (record,) = found.batch().records
    assert (record.id, record.value, record.tags) == ("a-100", 100, {"env": "prod"})


@pytest.mark.parametrize("text", [b"\xff\xfe\x00garbage", b"", b"{", b"\0" * 50, "größe".encode("utf-16"), b"a\rb"])
def test_any_bytes_come_back_as_they_were(dead: DeadLetters, text: bytes) -> None:
    dead.add([new_letter(5, text=text)])
    (found,) = dead.state().letters.values()
    assert found.raw == text
    assert found.name == ""
    assert found.batch().records == []


def test_the_same_letter_twice_is_one(dead: DeadLetters) -> None:
    dead.add([new_letter(1), new_letter(1)])
    dead.add([new_letter(1, reason="again")])
    assert [found.reason for found in dead.state().letters.values()] == ["again"]


def test_events_change_a_letters_state(dead: DeadLetters) -> None:
    dead.add([new_letter(offset, f"n{offset}") for offset in range(4)])
    dead.retry(["a-0", "a-1", "a-9"])
    dead.delivered(["a-0"])
    dead.drop(["a-2", "a-9"])
    state = dead.state()
    assert set(state.letters) == {"a-1", "a-3"}
    assert set(state.retry) == {"a-1"}
    assert state.delivered == {"n0": 1}
    assert state.dropped == {"n2": 1}
    dead.add([new_letter(1, "n1")])  # rejected again
    assert dead.state().retry == {}


def test_over_the_limit_letters_are_given_back(folder: Folder) -> None:
    dead = DeadLetters(folder, limit_bytes=2_000)
    letters = [new_letter(offset) for offset in range(20)]
    lost = dead.add(letters)
    kept = list(dead.state().letters.values())
    assert [found.id for found in [*kept, *lost]] == [found.id for found in letters]
    assert folder.dead.stat().st_size <= 2_000
    assert kept
    assert lost


def test_compaction_makes_room_and_forgets_nothing_that_counts(folder: Folder) -> None:
    dead = DeadLetters(folder, limit_bytes=20_000)
    dead.add([new_letter(offset) for offset in range(60)])
    dead.drop([f"a-{offset}" for offset in range(50)])
    dead.delivered(["a-50"])
    dead.retry(["a-59"])
    size = folder.dead.stat().st_size
    assert dead.add([new_letter(offset, "m") for offset in range(100, 140)]) == []
    state = dead.state()
    assert folder.dead.stat().st_size < size
    assert state.dropped == {"n": 50}
    assert state.delivered == {"n": 1}
    assert set(state.retry) == {"a-59"}
    assert len(state.letters) == 9 + 40


def test_the_log_is_compacted_when_it_grows(dead: DeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_module, "COMPACT_BYTES", 5_000)
    for offset in range(200):
        dead.add([new_letter(offset)])
        dead.drop([f"a-{offset}"])
    assert dead.folder.dead.stat().st_size < 12_000
    assert dead.state().dropped == {"n": 200}


def test_a_torn_line_of_a_process_that_died_costs_itself_only(dead: DeadLetters) -> None:
    dead.add([new_letter(1)])
    with open(dead.folder.dead, "ab") as file:
        file.write(encode(new_letter(2))[:50])
    dead.add([new_letter(3)])
    assert set(dead.state().letters) == {"a-1", "a-3"}


@pytest.mark.parametrize(
    "damage",
    [
        b"garbage",
        b"[" * 5000,
        b'{"event":"dead","x":' + b"[" * 5000,
        b'{"event":"future","id":"a-1"}',
        b'{"event":"dead","id":"a-9","time":0,"reason":"","header":{"tallystick":1,"segment":"a"},"offset":-1,"line":""}',
        encode(new_letter(9, text=b"\xff")).replace(b'"line":"/w=="', b'"line":"Y"'),
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_line_is_passed_over(dead: DeadLetters, damage: bytes) -> None:
    dead.add([new_letter(1)])
    with open(dead.folder.dead, "ab") as file:
        file.write(damage + b"\n")
    dead.add([new_letter(3)])
    state = dead.state()
    assert set(state.letters) == {"a-1", "a-3"}
    assert sum(state.counts([], {}).values()) == 2


def test_letters_ahead_of_the_positions_are_not_counted_yet(dead: DeadLetters) -> None:
    dead.add([new_letter(100), new_letter(200), letter(Header(FORMAT, "gone"), 5, line(1)[:-1], "no")])
    assert dead.state().counts(["a"], {"a": 150}) == {"n": 2}
    assert dead.state().counts(["a"], {}) == {"n": 1}
    assert dead.state().counts([], {}) == {"n": 3}
    assert dead.state().beyond("a", 150) == {"n": 1}


def test_threads_and_objects_append_whole_lines(folder: Folder) -> None:
    def work(number: int) -> None:
        own = DeadLetters(folder)
        for offset in range(25):
            own.add([new_letter(number * 1000 + offset, text=b"x" * (offset * 97 % 3000))])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(DeadLetters(folder).state().letters) == 100


def test_a_full_disk_leaves_no_half_letter(dead: DeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    dead.add([new_letter(1)])
    before = dead.folder.dead.read_bytes()
    dead.folder.keep_reserve()

    def torn(fd: int, data: bytes) -> None:
        os.write(fd, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tallystick.spool.disk.write_all", torn)
    with pytest.raises(OSError, match="No space"):
        dead.add([new_letter(2)])
    assert dead.folder.dead.read_bytes() == before
    assert not dead.folder.reserve.exists(), "the reserve was not even tried"


def test_the_log_is_json_lines(dead: DeadLetters) -> None:
    dead.add([new_letter(1)])
    dead.retry(["a-1"])
    first, second = dead.folder.dead.read_bytes().splitlines()
    assert msgspec.json.decode(first)["line"] == line(1)[:-1].decode()
    assert msgspec.json.decode(second)["event"] == "retry"
    assert Counter(path.suffix for path in Path(dead.folder.path).iterdir())[".new"] == 0
