"""The reading end of a spool, and who makes room beside it."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.spool.conftest import deliver_all, line, write_segment

from tallystick.spool import disk
from tallystick.spool import folder as folder_module
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters, letter
from tallystick.spool.dropping import Note, Underway, make_room
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.source import SpoolSource
from tallystick.spool.spool import Spool
from tallystick.spool.tally import Tally

MakeSpool = Callable[..., Spool]


def die(*_: object) -> None:
    raise KeyboardInterrupt


def books(folder: Folder) -> Any:
    found = account(folder)
    assert found.imbalance() == {}
    return found


def test_the_oldest_segment_goes_first_and_each_in_order(folder: Folder, source: SpoolSource) -> None:
    write_segment(folder, "b", line(3), line(4))
    write_segment(folder, "a", line(1), line(2))
    write_segment(folder, "c", line(5))
    assert deliver_all(source) == [1, 2, 3, 4, 5]


def test_a_segment_is_removed_only_when_all_of_it_is_settled_and_noted(folder: Folder, source: SpoolSource) -> None:
    write_segment(folder, "a", *(line(value) for value in range(10)))
    delivery = source.receive(4)
    assert delivery is not None
    source.settle(delivery, {})
    source.tidy()
    assert folder.segment_ids() == ["a"]
    deliver_all(source)
    assert folder.segment_ids() == ["a"]
    source.tidy()
    assert folder.segment_ids() == []
    assert Positions(folder).delivered == {"n": 10}


def test_nothing_is_removed_when_the_notes_cannot_be_written(
    folder: Folder, source: SpoolSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_segment(folder, "a", line(1))
    deliver_all(source)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(disk, "replace_file", full)
        with pytest.raises(OSError, match="No space"):
            source.tidy()
        assert folder.segment_ids() == ["a"]
    source.tidy()
    assert folder.segment_ids() == []


def test_what_was_set_aside_lets_everything_else_go_first_and_comes_again(folder: Folder, source: SpoolSource) -> None:
    write_segment(folder, "a", line(1), line(2))
    write_segment(folder, "b", line(3))
    delivery = source.receive(10)
    assert delivery is not None
    source.set_aside(delivery)
    assert deliver_all(source) == [3]
    source.take_up()
    assert deliver_all(source) == [1, 2]


def test_a_new_agent_goes_on_where_the_last_one_saved(folder: Folder) -> None:
    write_segment(folder, "a", *(line(value) for value in range(10)))
    first = SpoolSource(folder, DeadLetters(folder))
    for _ in range(2):
        delivery = first.receive(3)
        assert delivery is not None
        first.settle(delivery, {})
        first.save()
    first.close(keep_notes=False)
    second = SpoolSource(folder, DeadLetters(folder))
    assert deliver_all(second) == [6, 7, 8, 9]
    second.close()
    assert books(folder).accepted == {"n": 10}


def test_rejected_and_damaged_lines_become_dead_letters_with_reason_and_the_rest_is_delivered(
    folder: Folder, source: SpoolSource
) -> None:
    write_segment(folder, "a", line(1), b"garbage\n", line(2, "bad"), b'[1,"counter","n",3,5]\n', line(4))
    assert deliver_all(source, lambda name: name == "bad") == [1, 2, 4]
    source.tidy()
    letters = DeadLetters(folder).state().letters.values()
    assert {found.raw for found in letters} == {b"garbage", line(2, "bad")[:-1], b'[1,"counter","n",3,5]'}
    assert all(found.reason for found in letters)
    found = books(folder)
    assert found.delivered == {"n": 2}
    assert found.dead == {"bad": 1, "": 1, "n": 1}


def test_a_segment_with_nothing_but_a_damaged_header_is_counted_and_removed(
    folder: Folder, source: SpoolSource
) -> None:
    write_segment(folder, "a", header=b"garbage\n")
    deliver_all(source)
    source.tidy()
    assert folder.segment_ids() == []
    assert [found.raw for found in DeadLetters(folder).state().letters.values()] == [b"garbage"]
    books(folder)


def test_dead_letters_without_room_are_counted_as_dropped(folder: Folder) -> None:
    source = SpoolSource(folder, DeadLetters(folder, limit_bytes=1_000))
    write_segment(folder, "a", *(line(value) for value in range(20)))
    deliver_all(source, lambda _: True)
    source.close()
    found = books(folder)
    assert found.dead["n"] + found.dropped["dead_limit"]["n"] == 20
    assert found.dead["n"] > 0


@pytest.mark.parametrize("lost", ["positions", "nothing"])
def test_a_dead_letter_met_again_is_counted_once(folder: Folder, lost: str) -> None:
    write_segment(folder, "a", line(1), line(2, "bad"), line(3))
    first = SpoolSource(folder, DeadLetters(folder))
    delivery = first.receive(10)
    assert delivery is not None
    first.settle(delivery, {1: "no"})
    first.close(keep_notes=False)
    if lost == "positions":
        folder.positions.unlink()
        books(folder)
    second = SpoolSource(folder, DeadLetters(folder))
    deliver_all(second, lambda name: name == "bad")
    second.close()
    found = books(folder)
    assert found.accepted == {"n": 2, "bad": 1}
    assert found.dead == {"bad": 1}


def test_a_letter_with_a_damaged_id_is_retried_once_and_not_for_ever(folder: Folder, source: SpoolSource) -> None:
    write_segment(folder, "a", line(1, "bad"))
    deliver_all(source, lambda _: True)
    folder.dead.write_bytes(folder.dead.read_bytes().replace(b'"id":"a-', b'"id":"x-'))
    (key,) = DeadLetters(folder).state().letters
    DeadLetters(folder).retry([key])
    (again,) = DeadLetters(folder).state().retry.values()
    delivery = source.receive(1)
    assert delivery is not None
    assert delivery.token == again
    source.settle(delivery, {0: "no, again"})
    state = DeadLetters(folder).state()
    assert state.retry == {}
    assert [found.reason for found in state.letters.values()] == ["no, again"]


# --- what cannot be read ---


def test_a_segment_that_cannot_be_read_holds_up_no_other_and_is_complained_of_once(
    folder: Folder, source: SpoolSource, caplog: pytest.LogCaptureFixture
) -> None:
    folder.segment("0").mkdir()
    write_segment(folder, "1", line(0), header=b'{"tallystick":9,"segment":"1"}\n')
    write_segment(folder, "2", line(1))
    with caplog.at_level(logging.ERROR):
        assert deliver_all(source) == [1]
        assert deliver_all(source) == []
        source.tidy()
    assert len(caplog.records) == 2
    assert folder.segment_ids() == ["0", "1"]
    found = account(folder)
    assert len(found.unreadable) == 2
    assert found.imbalance() == {}


def test_a_segment_that_is_mended_is_delivered_after_all(folder: Folder, source: SpoolSource) -> None:
    folder.segment("0").mkdir()
    assert deliver_all(source) == []
    folder.segment("0").rmdir()
    write_segment(folder, "0", line(1))
    assert deliver_all(source) == [1]


# --- leftovers ---


def test_a_dead_writers_tally_is_added_up_once(folder: Folder) -> None:
    counts = Tally(folder.tally("w"))
    counts.add("dropped", "disk_full", "n", 3)
    counts.add("refused", "nan", "n", 2)
    living = SpoolSource(folder, DeadLetters(folder))
    living.tidy()
    assert folder.tally_ids() == ["w"], "its writer lives"
    assert books(folder).dropped == {"disk_full": {"n": 3}}
    counts.close()
    for _ in range(2):
        living.tidy()
    living.close()
    assert folder.tally_ids() == []
    found = books(folder)
    assert found.dropped == {"disk_full": {"n": 3}}
    assert found.refused == {"nan": {"n": 2}}
    assert found.accepted == {"n": 3}
    assert Positions(folder).merged == set()


def test_a_tally_that_outlives_a_crash_after_it_was_added_is_not_added_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Tally(folder.tally("w"))
    counts.add("dropped", "disk_full", "n", 3)
    counts.close()
    first = SpoolSource(folder, DeadLetters(folder))
    with monkeypatch.context() as dying:
        dying.setattr(disk, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            first.tidy()
    first.close(keep_notes=False)
    assert folder.tally_ids() == ["w"]
    assert books(folder).dropped == {"disk_full": {"n": 3}}
    second = SpoolSource(folder, DeadLetters(folder))
    second.tidy()
    second.close()
    assert books(folder).dropped == {"disk_full": {"n": 3}}


def test_files_begun_and_given_up_are_swept_away_when_they_are_old_and_nobodys(
    folder: Folder, source: SpoolSource, make_spool: MakeSpool
) -> None:
    old, young, held = (folder.segments / f"{name}.new" for name in ("old", "young", "held"))
    for path in (old, young, held):
        path.write_bytes(bytes(4096))
    lock = disk.LockFile(held)
    assert lock.acquire()
    for path in (old, held):
        os.utime(path, (time.time() - folder_module.LEFTOVER_SECONDS - 1,) * 2)
    source.tidy()
    assert sorted(path.name for path in folder.segments.glob("*.new")) == ["held.new", "young.new"]
    lock.release()


# --- making room ---


def test_the_oldest_that_nobody_uses_are_dropped_until_there_is_room(folder: Folder) -> None:
    for name in "abcd":
        write_segment(folder, name, *(line(value, name) for value in range(20)))
    size = folder.segment("a").stat().st_size
    assert make_room(folder, size, folder.size_bytes() - size // 2) == 2
    assert folder.segment_ids() == ["c", "d"]
    assert books(folder).dropped == {"drop_old": {"a": 20, "b": 20}}
    assert make_room(folder, 0, 10**9) == 0


def test_a_living_writers_segment_is_not_dropped(folder: Folder, make_spool: MakeSpool) -> None:
    spool = make_spool()
    spool.append(line(1), "n")
    assert make_room(folder, 0, 0) == 0
    assert len(folder.segment_ids()) == 1


def test_what_an_agent_is_delivering_is_not_dropped(folder: Folder, source: SpoolSource) -> None:
    write_segment(folder, "a", line(1))
    write_segment(folder, "b", line(2))
    delivery = source.receive(10)
    assert delivery is not None
    assert make_room(folder, 0, 0) == 1
    assert folder.segment_ids() == ["a"]
    source.settle(delivery, {})
    assert deliver_all(source) == []
    source.tidy()
    found = books(folder)
    assert (found.delivered, found.dropped) == ({"n": 1}, {"drop_old": {"n": 1}})


def test_what_is_on_its_way_from_a_living_writers_segment_is_not_dropped_when_the_writer_dies(
    folder: Folder, source: SpoolSource, make_spool: MakeSpool
) -> None:
    spool = make_spool()
    spool.append(line(1), "n")
    delivery = source.receive(10)
    assert delivery is not None
    spool.close()
    assert make_room(folder, 0, 0) == 0
    source.settle(delivery, {})
    assert make_room(folder, 0, 0) == 1
    source.tidy()
    found = books(folder)
    assert found.delivered == {"n": 1}
    assert found.dropped.get("drop_old", Counter()) == {}


@pytest.mark.parametrize("agent_dies", [False, True])
def test_what_was_delivered_and_not_yet_noted_is_no_drop(
    folder: Folder, make_spool: MakeSpool, agent_dies: bool
) -> None:
    spool = make_spool()
    for value in range(10):
        spool.append(line(value), "n")
    source = SpoolSource(folder, DeadLetters(folder))
    delivery = source.receive(4)
    assert delivery is not None
    source.settle(delivery, {})
    spool.close()
    assert make_room(folder, 0, 0) == 1
    assert books(folder).dropped == {"drop_old": {"n": 6}}
    source.close(keep_notes=not agent_dies)
    if agent_dies:
        source = SpoolSource(folder, DeadLetters(folder))
        source.tidy()
        source.close()
    found = books(folder)
    assert (found.delivered, found.dropped, found.accepted) == ({"n": 4}, {"drop_old": {"n": 6}}, {"n": 10})
    assert folder.dropped_ids() == []


def test_a_dead_letter_in_a_dropped_segment_is_not_dropped_as_well(folder: Folder) -> None:
    write_segment(folder, "a", line(1, "bad"), line(2))
    source = SpoolSource(folder, DeadLetters(folder))
    delivery = source.receive(10)
    assert delivery is not None
    source.dead.add([_dead(delivery)])  # and then the agent died
    source.close(keep_notes=False)
    make_room(folder, 0, 0)
    assert books(folder).dead == {"bad": 1}
    source = SpoolSource(folder, DeadLetters(folder))
    source.tidy()
    source.close()
    found = books(folder)
    assert (found.dead, found.dropped) == ({"bad": 1}, {"drop_old": {"n": 1}})


def _dead(delivery: Any) -> Any:
    record = delivery.batch.records[0]
    return letter(delivery.batch.header, record.offset, delivery.batch.line(record.offset), "no")


def test_a_newer_segment_is_no_obstacle_to_making_room(folder: Folder) -> None:
    write_segment(folder, "0", line(0), header=b'{"tallystick":9,"segment":"0"}\n')
    write_segment(folder, "a", line(1))
    assert make_room(folder, 0, 0) == 1
    assert folder.segment_ids() == ["0"]


def test_a_crash_between_the_note_of_a_drop_and_the_drop_delivers_nothing_of_it(
    folder: Folder, source: SpoolSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_segment(folder, "a", line(1), line(2))
    with monkeypatch.context() as dying:
        dying.setattr(disk, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            make_room(folder, 0, 0)
    assert path.exists()
    assert books(folder).dropped == {"drop_old": {"n": 2}}
    assert deliver_all(source) == []
    source.tidy()
    assert not path.exists()
    assert books(folder).dropped == {"drop_old": {"n": 2}}


# --- the note of what is on its way ---


def test_a_note_is_read_back_and_a_damaged_one_says_nothing(folder: Folder) -> None:
    underway = Underway(folder)
    underway.note = Note("a", {"a": 5, "b": 7})
    with underway.held() as ours:
        assert ours
        underway.write()
        assert Underway(folder).read() == underway.note
        folder.delivering.write_bytes(folder.delivering.read_bytes().replace(b'"a":5', b'"a":9'))
        assert Underway(folder).read() == Note()


def test_whoever_is_stopped_while_holding_the_lock_stops_nobody_else_for_long(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, make_spool: MakeSpool, source: SpoolSource
) -> None:
    monkeypatch.setattr("tallystick.spool.dropping.WAIT_SECONDS", 0.02)
    stopped = disk.LockFile(folder.delivering_lock)
    assert stopped.acquire()
    write_segment(folder, "a", line(1))
    spool = make_spool()
    spool.append(line(2), "n")
    assert make_room(folder, 0, 0) == 0
    assert deliver_all(source) == [1], "segments without a writer need no such lock"
    stopped.release()
    assert deliver_all(source) == [2]
    assert isinstance(folder.path, Path)
