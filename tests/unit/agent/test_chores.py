"""What the agent does besides delivering."""

import time
from pathlib import Path

import pytest

from tallystick.agent.chores import Retention, chores_of
from tallystick.agent.report import Report
from tallystick.backends.memory import MemoryBackend
from tallystick.queries import Query
from tallystick.records import Record
from tallystick.settings import load_settings
from tallystick.spool.folder import Folder
from tallystick.testing import make_batch


def test_records_older_than_the_retention_are_forgotten_and_newer_ones_kept(tmp_path: Path) -> None:
    backend, now = MemoryBackend(), time.time_ns()
    backend.write(
        make_batch(*(Record(now - days * 86_400 * 10**9, "counter", f"{days}_days", 1) for days in (8, 6, 0)))
    )
    retention = Retention(backend, 7)
    retention(Report(Folder(tmp_path).open(), backend.address, "process"))
    assert [record.name for record in backend.records(Query())] == ["6_days", "0_days"]


def test_retention_looks_once_an_hour(tmp_path: Path) -> None:
    backend, report = MemoryBackend(), Report(Folder(tmp_path).open(), "memory://", "process")
    retention = Retention(backend, 7)
    retention(report)
    backend.write(make_batch(Record(0, "counter", "ancient", 1)))
    retention(report)
    assert len(list(backend.records(Query()))) == 1


def test_without_settings_there_are_no_chores(tmp_path: Path) -> None:
    assert chores_of(load_settings(), Folder(tmp_path), MemoryBackend()) == []
    assert len(chores_of(load_settings(self_metrics=True, retention_days=1), Folder(tmp_path), MemoryBackend())) == 2


def names(backend: MemoryBackend) -> list[str]:
    return [record.name for record in backend.records(Query())]


def test_a_clock_that_is_ahead_makes_retention_forget_nothing_that_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, now = MemoryBackend(), time.time()
    backend.write(make_batch(Record(int((now - 86_400) * 1e9), "counter", "yesterday", 1)))
    folder = Folder(tmp_path).open()
    monkeypatch.setattr(time, "time", lambda: now + 60 * 86_400)
    Retention(backend, 30)(Report(folder, backend.address, "process"))
    assert names(backend) == ["yesterday"]


def test_a_leap_of_the_clock_is_doubted_for_a_day_also_when_records_were_made_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The record of the wrong time is the newest one then."""
    backend, now = MemoryBackend(), time.time()
    folder = Folder(tmp_path).open()
    Report(folder, backend.address, "process").write(at_once=True)
    backend.write(make_batch(Record(int(now * 1e9), "counter", "today", 1)))
    for days, left in ((60, ["today", "ahead"]), (60.5, ["today", "ahead"]), (61.1, ["ahead"])):
        clock = now + days * 86_400
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        if days == 60:
            backend.write(make_batch(Record(int(clock * 1e9), "counter", "ahead", 1)))
        report = Report(folder, backend.address, "process")
        Retention(backend, 30)(report)
        report.write(at_once=True)
        assert names(backend) == left
    assert "the clock has leapt ahead" in caplog.text


def test_a_leap_of_the_clock_is_noticed_while_the_agent_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, now = MemoryBackend(), time.time()
    report = Report(Folder(tmp_path).open(), backend.address, "process")
    retention = Retention(backend, 30)
    retention(report)
    backend.write(make_batch(*(Record(int(at * 1e9), "counter", "n", 1) for at in (now, now + 60 * 86_400))))
    monkeypatch.setattr(time, "time", lambda: now + 60 * 86_400)
    retention._next = 0.0
    retention(report)
    assert len(names(backend)) == 2
