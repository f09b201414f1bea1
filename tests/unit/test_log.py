"""The log backend: one line a record, and nothing lost in silence."""

from __future__ import annotations

import json
import logging
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tallystick.backends.log import LogBackend
from tallystick.errors import QueryError, SettingsError, Unavailable
from tallystick.queries import Query
from tallystick.records import COUNTER, GAUGE, TIMING, Record
from tallystick.testing import at, counters, make_batch
from tallystick.testing.hostile import HOSTILE


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def test_a_record_is_one_line_with_its_id_and_all_that_was_given(tmp_path: Path) -> None:
    backend = LogBackend(path=tmp_path / "new" / "records.log")
    batch = make_batch(
        Record(at(0) + 7, TIMING, "search.time", 0.25, {"route": "/"}, unit="s", metadata={"u": 1}, sample_rate=0.5),
        Record(at(1), "xml", "doc", {"at": datetime(2025, 6, 15, tzinfo=UTC)}, own_id="2B75"),
        host="web-1",
        app="shop",
    )
    backend.write(batch)
    backend.close()
    first, second = lines(tmp_path / "new" / "records.log")
    assert first == {
        "time": "2025-06-15T12:00:00.000000007Z",
        "id": batch.records[0].id,
        "kind": "timing",
        "name": "search.time",
        "value": 0.25,
        "tags": {"route": "/"},
        "unit": "s",
        "metadata": {"u": 1},
        "sample_rate": 0.5,
        "host": "web-1",
        "app": "shop",
        "pid": 4242,
    }
    assert second["id"] == "2B75"
    assert second["value"] == {"at": "2025-06-15T00:00:00Z"}


def test_hostile_texts_stay_in_their_line(tmp_path: Path) -> None:
    backend = LogBackend(path=tmp_path / "records.log")
    backend.write(make_batch(*(Record(at(0), GAUGE, text, text, {text: text}) for text in HOSTILE)))
    backend.close()
    assert [(line["name"], line["value"], line["tags"]) for line in lines(tmp_path / "records.log")] == [
        (text, text, {text: text}) for text in HOSTILE
    ]


def test_words_are_a_list_of_words(tmp_path: Path) -> None:
    backend = LogBackend(path=tmp_path / "records.log")
    backend.write(make_batch(Record(at(0), COUNTER, "a", 1, {"x": "true", "y": "true"}, ("x", "y"))))
    backend.close()
    assert lines(tmp_path / "records.log")[0]["tags"] == ["x", "y"]


def test_a_file_that_logrotate_moved_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "records.log"
    backend = LogBackend(path=path)
    backend.write(make_batch(*counters(2)))
    path.rename(tmp_path / "records.log.1")
    backend.write(make_batch(*counters(3)))
    backend.close()
    assert len(lines(tmp_path / "records.log.1")) == 2
    assert len(lines(path)) == 3


def test_a_full_disk_keeps_the_records() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    backend = LogBackend(path="/dev/full")
    result = backend.write(make_batch(*counters(3)))
    assert set(result.kept) == {0, 1, 2}
    assert "No space left" in result.kept[0]
    backend.close()


def test_a_value_that_is_no_json_is_rejected_alone(tmp_path: Path) -> None:
    backend = LogBackend(path=tmp_path / "records.log")
    result = backend.write(make_batch(*counters(1), Record(at(0), GAUGE, "g", object()), *counters(1)))  # type: ignore[arg-type]
    backend.close()
    assert set(result.rejected) == {1}
    assert len(lines(tmp_path / "records.log")) == 2


def test_a_place_that_cannot_be_written_is_unavailable_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"file/records\.log"):
        LogBackend(path=tmp_path / "file" / "records.log").open()


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "records.log"
    backend = LogBackend(path=path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, before[1]))  # room for one line and a part of the next
        result = backend.write(make_batch(*counters(2)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert set(result.kept) == {1}
    backend.write(make_batch(*counters(1)))
    backend.close()
    texts = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(texts[index])["value"] for index in (0, 2)] == [0, 0]


def test_a_logger_that_nobody_configured_is_heard() -> None:
    program = """
from tallystick.backends.log import LogBackend
from tallystick.testing import counters, make_batch
LogBackend.from_url("log://shop.metrics").write(make_batch(*counters(2)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert [json.loads(line)["value"] for line in done.stderr.splitlines()] == [0, 1]


def test_a_configured_logger_decides_itself() -> None:
    seen: list[str] = []

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    logger = logging.getLogger("tallystick_test_configured")
    logger.addHandler(Seen())
    backend = LogBackend("tallystick_test_configured")
    backend.write(make_batch(*counters(1)))
    logger.setLevel(logging.ERROR)
    backend.write(make_batch(*counters(1)))
    logger.handlers.clear()
    assert len(seen) == 1


def test_a_question_says_what_to_use_instead() -> None:
    with pytest.raises(QueryError, match=r"sqlite:///metrics\.db"):
        LogBackend().query(Query("hits"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("log://", "log://tallystick.records"),
        ("log://shop.metrics", "log://shop.metrics"),
        ("log:///var/log/a%20b.log", "log:///var/log/a b.log"),
    ],
)
def test_urls_name_a_logger_or_a_file(url: str, address: str) -> None:
    assert LogBackend.from_url(url).address == address


@pytest.mark.parametrize("url", ["log://host/path", "log:///path?level=info", "log://a#b"])
def test_urls_with_other_parts_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="log:///path"):
        LogBackend.from_url(url)
