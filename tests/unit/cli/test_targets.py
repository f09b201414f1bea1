"""Which database belongs to a pipeline: records for one must never reach another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.calling import answer

from tallystick import Metrics
from tallystick.cli.options import Where
from tallystick.cli.targets import Target, target_of, targets
from tallystick.errors import SettingsError
from tallystick.settings import load_settings
from tallystick.spool.folder import Folder


def only(**where: str) -> Target:
    (found,) = targets(Where(**where))
    return found


def describe(home: Path, name: str, **about: str) -> None:
    (home / name / "segments").mkdir(parents=True)
    (home / name / "pipeline.json").write_text(json.dumps({"tallystick": 1, **about}))


def test_without_any_word_it_is_the_file_in_the_pipelines_folder(home: Path) -> None:
    with Metrics(deliver="off"):
        pass
    assert (only().url, only().address) == (None, f"sqlite:///{home}/default/records.db")


def test_the_settings_backend_is_for_the_settings_own_pipeline_only(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(home, "default", backend="sqlite:////before.db", by="url")
    describe(home, "other", backend="sqlite:////other.db", by="url")
    monkeypatch.setenv("TALLYSTICK_BACKEND", f"sqlite:///{tmp_path}/now.db")
    assert [found.address for found in targets(Where())] == [f"sqlite:///{tmp_path}/now.db", "sqlite:////other.db"]
    assert only(pipeline="other").address == "sqlite:////other.db", "naming it changes nothing"
    assert only(pipeline="other", backend="sqlite:////told.db").address == "sqlite:////told.db"


def test_a_backend_by_option_is_for_the_pipeline_that_metrics_would_record_into(home: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    with Metrics(url, deliver="off"), Metrics(deliver="off"):
        pass
    found = {target.name: target.url for target in targets(Where(backend=url))}
    assert found.pop("default") is None
    assert list(found.values()) == [url]


def test_what_the_application_left_is_believed_with_its_options(home: Path) -> None:
    describe(home, "shop", backend="es://search-1:9200/metrics", url="es://search-1/metrics?tls=yes", by="url")
    assert only().url == "es://search-1/metrics?tls=yes"
    describe(home, "sqlite", backend="sqlite:////var/lib/a%3Fb.db", url="sqlite:///a%3Fb.db", by="url")
    assert only(pipeline="sqlite").url == "sqlite:////var/lib/a%3Fb.db", "a relative path is the application's"


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"backend": "shop.Own", "by": "object"}, "a backend object of its own"),
        ({"backend": "es://a/b", "url": "es://u:***@a/b", "by": "url"}, "the password of es://u:***@a/b"),
        ({"backend": "es://a/b", "url": "es://a/b?api_key=***", "by": "url"}, "is written nowhere"),
        ({}, "does not say where the records go"),
    ],
)
def test_a_target_that_cannot_be_told_is_no_target(home: Path, about: dict[str, str], says: str) -> None:
    describe(home, "shop", **about)
    assert says in only().unknown
    with pytest.raises(SettingsError, match="pipeline shop"):
        only().backend()
    assert answer("status")["pipelines"][0]["target_unknown"] == only().unknown


def test_memory_is_no_target_of_another_process(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(home, "default", backend="sqlite:////x.db", by="url")
    monkeypatch.setenv("TALLYSTICK_BACKEND", "memory://")
    assert "gone with each process" in only().unknown


def test_a_garbled_description_is_as_none(home: Path) -> None:
    describe(home, "shop")
    for text in ("", "[]", "{", '{"backend": 7}', "\0"):
        (home / "shop" / "pipeline.json").write_text(text)
        assert "does not say" in only().unknown


def test_a_home_that_was_moved_or_copied_keeps_its_records_in_its_own_file(tmp_path: Path) -> None:
    with Metrics(home=tmp_path / "old", deliver="off") as metrics:
        metrics.increment("moved")
    (tmp_path / "old").rename(tmp_path / "new")
    folder = Folder(tmp_path / "new")
    assert target_of(folder, load_settings(home=tmp_path / "new")).address == f"sqlite:///{folder.database}"
