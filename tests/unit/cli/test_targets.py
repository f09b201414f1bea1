"""Which database belongs to a pipeline: records for one must never reach another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.calling import answer, call

from tallystick import Metrics, Query
from tallystick.errors import SettingsError
from tallystick.pipelines.naming import named_after
from tallystick.pipelines.targets import Target, Where, asked_target, target_of, targets
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


def test_the_settings_backend_changes_no_pipeline_that_has_a_target(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(home, "default", backend="sqlite:////before.db", by="url")
    describe(home, "other", backend="sqlite:////other.db", by="url")
    monkeypatch.setenv("TALLYSTICK_BACKEND", f"sqlite:///{tmp_path}/now.db")
    assert [found.address for found in targets(Where())] == ["sqlite:////before.db", "sqlite:////other.db"]
    with pytest.raises(SettingsError, match="pipeline other: its records go to"):
        only(pipeline="other", backend="sqlite:////told.db")


def test_a_command_that_touches_spools_wants_the_pipeline_beside_a_backend(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    with Metrics(url, deliver="off"), Metrics(deliver="off"):
        pass
    with pytest.raises(SettingsError, match="needs --pipeline NAME"):
        targets(Where(backend=url))


def test_one_destination_is_one_pipeline_whatever_told_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    with Metrics(url, deliver="off") as by_argument:
        pass
    monkeypatch.setenv("TALLYSTICK_BACKEND", url)
    with Metrics(deliver="off") as by_environment:
        pass
    assert by_argument.settings.pipeline == by_environment.settings.pipeline != "default"


def test_a_name_says_where_the_records_go() -> None:
    assert named_after("postgresql://db1:5432/metrics?schema=tallystick") == "postgresql-db1-metrics"
    assert named_after("postgresql://db1:5432/metrics?schema=a") != named_after(
        "postgresql://db1:5432/metrics?schema=b"
    )


def test_a_question_changes_no_description(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Metrics(deliver="off") as metrics:
        metrics.increment("a")
    before = (home / "default" / "pipeline.json").read_bytes()
    monkeypatch.setenv("TALLYSTICK_BACKEND", f"sqlite:///{tmp_path}/other.db")
    with Metrics(pipeline="q", deliver="off") as metrics:
        assert metrics.query(Query("a")) == []
    assert (home / "default" / "pipeline.json").read_bytes() == before


def test_what_the_application_left_is_believed_with_its_options(home: Path) -> None:
    describe(home, "shop", backend="es://search-1:9200/metrics", url="es://search-1/metrics?tls=yes", by="url")
    assert only().url == "es://search-1/metrics?tls=yes"
    describe(home, "sqlite", backend="sqlite:////var/lib/a%3Fb.db", url="sqlite:///a%3Fb.db", by="url")
    assert only(pipeline="sqlite").url == "sqlite:////var/lib/a%3Fb.db", "a relative path is the application's"


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"backend": "shop.Own", "by": "object"}, "a backend object of its own"),
        ({"backend": "es://a/b", "url": "es://u:***@a/b", "by": "url"}, "the secret of es://u:***@a/b"),
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


def test_memory_is_no_target_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKEND", "memory://")
    assert "gone with each process" in asked_target(Where()).unknown


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


def rows(path: Path) -> int:
    """How many records are in a SQLite file of ours; 0 when it was not made."""
    if not path.exists():
        return 0
    return sum(int(one["records"]) for one in answer("indices", "--backend", f"sqlite:///{path}")["indices"])


def record(url: str | None, pipeline: str | None = None) -> None:
    with Metrics(url, pipeline=pipeline, deliver="off") as metrics:
        metrics.increment("a")


ALL_OF_A_HOME = [
    ["agent", "--once"],
    ["agent", "--drain"],
    ["status"],
    ["status", "--check"],
    ["dead", "list"],
    ["dead", "retry", "--all"],
    ["dead", "drop", "--all", "--yes"],
    ["spool", "list"],
    ["spool", "repair", "--yes"],
]


@pytest.mark.parametrize("words", ALL_OF_A_HOME, ids=" ".join)
def test_another_database_than_the_pipelines_is_refused_and_nothing_is_delivered(
    words: list[str], tmp_path: Path
) -> None:
    """Neither to the database where the pipeline's records go, nor to the one that was given."""
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    record(f"sqlite:///{one}", "rub")
    assert "needs --pipeline NAME" in call(*words, "--backend", f"sqlite:///{other}", exits=2).stderr
    said = call(*words, "--pipeline", "rub", "--backend", f"sqlite:///{other}", exits=2).stderr
    assert f"pipeline rub: its records go to sqlite:///{one}, and not to sqlite:///{other}" in said
    assert "`tallystick pipeline move rub URL`" in said
    assert (rows(one), rows(other)) == (0, 0)
    call("pipeline", "move", "rub", f"sqlite:///{other}")
    call("agent", "--once")
    assert (rows(one), rows(other)) == (0, 1), "the remedy, followed to the letter"


def test_a_password_by_option_reaches_the_pipeline_that_is_named(home: Path) -> None:
    record("postgresql://ada:S3cr3t@127.0.0.1:1/db?schema=a", "p1")
    record("postgresql://ada:S3cr3t@127.0.0.1:1/db?schema=b", "p2")
    (found,) = targets(Where(pipeline="p1", backend="postgresql://ada:new@127.0.0.1:1/db?schema=a"))
    assert found.url == "postgresql://ada:new@127.0.0.1:1/db?schema=a"
    with pytest.raises(SettingsError, match="pipeline p2: its records go to"):
        targets(Where(pipeline="p2", backend="postgresql://ada:new@127.0.0.1:1/db?schema=a"))


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"backend": "shop.Own", "by": "object"},
        {"backend": "postgresql://h:5432/db?schema=s", "url": "postgresql://ada:***@h/db?schema=s", "by": "url"},
    ],
)
def test_what_is_to_be_done_about_an_unknown_target_works_when_it_is_done(
    home: Path, tmp_path: Path, about: dict[str, str]
) -> None:
    record(f"sqlite:///{tmp_path}/one.db", "p1")
    (home / "p1" / "pipeline.json").write_text(json.dumps({"tallystick": 1, **about}))
    call("agent", "--once", exits=1)
    call("pipeline", "move", "p1", f"sqlite:///{tmp_path}/new.db")
    call("agent", "--once", "--pipeline", "p1")
    assert rows(tmp_path / "new.db") == 1


def test_the_password_by_the_settings_reaches_a_pipeline_with_a_name_of_its_own_and_no_other(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://ada:S3cr3t@127.0.0.1:1/db"
    record(url, "p1")
    record(None)
    assert "set TALLYSTICK_BACKEND to all of it" in only(pipeline="p1").unknown
    monkeypatch.setenv("TALLYSTICK_BACKEND", url)
    found = {target.name: target for target in targets(Where())}
    assert found["p1"].url == url
    assert found["default"].address == f"sqlite:///{home}/default/records.db", "which has nothing to do with it"


def test_an_agent_that_lacks_the_password_is_told_to_give_the_database(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_DELIVER", "off")
    url = "postgresql://ada:S3cr3t@127.0.0.1:1/db"
    call("send", "increment", "a", "--wait", "0", "--backend", url)
    (name,) = [path.name for path in home.iterdir()]
    assert name.startswith("postgresql-127-0-0-1-db")
    remedy = f"set TALLYSTICK_BACKEND to all of it, or give --pipeline {name} --backend URL"
    for text in (call("status").stdout, call("doctor", "--offline").stdout):
        assert remedy in " ".join(text.split())
    assert "run `tallystick agent` to" in call("send", "increment", "a", "--wait", "0").stdout


def test_a_question_is_for_the_database_that_is_given_whatever_pipelines_there_are(tmp_path: Path) -> None:
    record(f"sqlite:///{tmp_path}/one.db", "rub")
    record(f"sqlite:///{tmp_path}/other.db", "waits")
    for words in (["query", "a"], ["export"], ["tail", "--no-follow"]):
        assert "one.db" not in call(*words, "--backend", f"sqlite:///{tmp_path}/other.db").output
    said = call("query", "a", "--backend", f"sqlite:///{tmp_path}/other.db").stderr
    assert f"nothing was delivered to sqlite:///{tmp_path}/other.db yet" in said
    doctor = call("doctor", "--backend", f"sqlite:///{tmp_path}/third.db").stdout
    assert f"sqlite:///{tmp_path}/third.db is made at the first delivery" in doctor


def test_an_empty_url_is_no_url() -> None:
    record(None, "p1")
    assert "is no URL" in call("agent", "--once", "--pipeline", "p1", "--backend", "", exits=2).stderr
