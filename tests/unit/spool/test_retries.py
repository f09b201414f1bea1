"""What a person asks to retry is found without reading the whole log again."""

from __future__ import annotations

from tests.unit.spool.conftest import line

from tallystick.codec import FORMAT
from tallystick.records import Header
from tallystick.spool.dead import DeadLetters, Log, letter
from tallystick.spool.folder import Folder


def test_the_log_of_dead_letters_is_read_on_from_where_reading_stopped(folder: Folder) -> None:
    dead, log = DeadLetters(folder), Log()
    header = Header(FORMAT, "a")
    letters = [letter(header, offset, line(offset)[:-1], "no") for offset in range(5)]
    assert dead.asked(log) == []
    dead.add(letters)
    assert dead.asked(log) == []
    before = log.end
    assert before == folder.dead.stat().st_size
    folder.dead.write_bytes(b"x" * (before - 1) + b"\n" + folder.dead.read_bytes()[before:])  # read once already
    dead.retry([letters[1].id, letters[3].id])
    dead.drop([letters[3].id])
    assert dead.asked(log) == [letters[1].id]
    assert log.end > before


def test_letters_that_are_asked_for_are_given_out_unless_they_were_settled(folder: Folder) -> None:
    dead, log = DeadLetters(folder), Log()
    letters = [letter(Header(FORMAT, "a"), offset, line(offset)[:-1], "no") for offset in range(4)]
    dead.add(letters)
    dead.retry([found.id for found in letters[:3]])
    dead.delivered([letters[1].id])
    asked = dead.asked(log)
    assert dead.letters(asked) == [letters[0], letters[2]]
