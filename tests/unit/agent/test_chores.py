"""What the agent does besides delivering."""

import time
from pathlib import Path

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
    old, new = (Record(now - days * 86_400 * 10**9, "counter", f"{days}_days", 1) for days in (8, 6))
    backend.write(make_batch(old, new))
    retention = Retention(backend, 7)
    retention(Report(Folder(tmp_path).open(), backend.address, "process"))
    assert [record.name for record in backend.records(Query())] == ["6_days"]


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
