"""What `load_settings` promises: one table, five places in order, errors that help."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import SettingsError
from tallystick.settings import Settings, load_settings, table, unknown_environment


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, which is the working directory."""
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def settings_module(project: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A settings module with a name of its own for each test, since a module is imported once a process."""
    name = f"settings_of_{abs(hash(request.node.nodeid))}"
    monkeypatch.setenv("TALLYSTICK_SETTINGS_MODULE", name)
    return project / f"{name}.py"


def fails(**arguments: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(**arguments)
    return str(caught.value)


def test_without_any_place_every_setting_has_its_default(home: Path) -> None:
    settings = load_settings()
    assert settings == Settings(home=home, sources={"home": "environment TALLYSTICK_HOME"})
    assert settings.source("backend") == "default"
    assert settings.source("home") == "environment TALLYSTICK_HOME"


def test_each_place_gives_way_to_the_one_before_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project / "tallystick.toml"
    assert load_settings().namespace == ""
    file.write_text('namespace = "file"')
    assert (load_settings().namespace, load_settings().source("namespace")) == ("file", f"file {file}")
    (project / "settings_of_precedence.py").write_text('namespace = "module"')
    monkeypatch.setenv("TALLYSTICK_SETTINGS_MODULE", "settings_of_precedence")
    assert load_settings().namespace == "module"
    assert load_settings().source("namespace") == "settings module settings_of_precedence"
    monkeypatch.setenv("TALLYSTICK_NAMESPACE", "environment")
    assert load_settings().namespace == "environment"
    assert load_settings().source("namespace") == "environment TALLYSTICK_NAMESPACE"
    assert load_settings(namespace="argument").namespace == "argument"
    assert load_settings(namespace="argument").source("namespace") == "argument"
    assert load_settings(namespace=None).namespace == "environment"


def test_an_empty_variable_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_SAMPLE_RATE", "")
    assert load_settings().source("sample_rate") == "default"


def test_the_file_is_looked_for_up_to_the_root_of_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.parent / "tallystick.toml").write_text('app = "outside"')
    deep = project / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert load_settings().source("app") == "default"
    (project / "tallystick.toml").write_text('app = "root"')
    assert load_settings().app == "root"
    (deep.parent / "pyproject.toml").write_text('[tool.tallystick]\napp = "nearer"')
    assert load_settings().app == "nearer"
    (deep / "pyproject.toml").write_text('[project]\nname = "without-a-table"')
    assert load_settings().app == "nearer"


def test_without_git_the_nearest_pyproject_is_the_root_and_without_that_the_working_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".git").rmdir()
    (project / "tallystick.toml").write_text('app = "here"')
    (project / "sub").mkdir()
    assert load_settings().app == "here"
    monkeypatch.chdir(project / "sub")
    assert load_settings().source("app") == "default"
    (project / "pyproject.toml").write_text('[project]\nname = "shop"')
    assert load_settings().app == "here"


def test_tallystick_toml_is_preferred_to_the_pyproject_beside_it(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.tallystick]\napp = "pyproject"\nstrict = true')
    assert load_settings().app == "pyproject"
    (project / "tallystick.toml").write_text('app = "own"')
    assert (load_settings().app, load_settings().strict) == ("own", False)


def test_a_settings_module_may_be_shared_with_other_programs(settings_module: Path) -> None:
    settings_module.write_text(
        "import os as host\ndef app(): ...\nclass tags: ...\nDEBUG = True\ncolour = 'red'\n"
        "fsync = 'never'\nTALLYSTICK_WHEN_FULL = 'block'\nTALLYSTICK_PIPELINE = 'shop'\npipeline = 'other'\n"
    )
    settings = load_settings()
    assert (settings.fsync, settings.when_full, settings.pipeline) == ("never", "block", "shop")
    assert [settings.source(name) for name in ("host", "app", "tags")] == ["default"] * 3


@pytest.mark.parametrize("line", ["TALLYSTICK_BACKND = 1", "backnd = 1"])
def test_a_misspelt_name_in_a_settings_module_is_an_error(settings_module: Path, line: str) -> None:
    settings_module.write_text(line)
    message = fails()
    assert line.split(maxsplit=1)[0] in message
    assert settings_module.stem in message
    assert "did you mean backend?" in message


def test_a_settings_module_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_SETTINGS_MODULE", "no_such_module_at_all")
    assert "TALLYSTICK_SETTINGS_MODULE: cannot import 'no_such_module_at_all'" in fails()


def test_an_unknown_key_is_an_error_with_a_suggestion(project: Path) -> None:
    assert "fsinc: no such setting (argument); did you mean fsync?" in fails(fsinc="always")
    file = project / "tallystick.toml"
    file.write_text('spool-limit-bytes = 1\nfsync = "never"')
    assert f"spool-limit-bytes: no such setting (file {file}); did you mean spool_limit_bytes?" in fails()


def test_an_unknown_variable_is_reported_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKND", "x")
    monkeypatch.setenv("TALLYSTICK_TEST_MONGODB_URL", "x")
    monkeypatch.setenv("TALLYSTICK_SERVICES_KEEP", "1")
    load_settings()
    assert unknown_environment() == ["TALLYSTICK_BACKND is no setting; did you mean backend?"]


@pytest.mark.parametrize("text", ["fsync = ", "[tool", "\xff"])
def test_a_file_that_is_no_toml_is_named(project: Path, text: str) -> None:
    file = project / "tallystick.toml"
    file.write_bytes(text.encode("latin-1"))
    assert f"{file} is not TOML" in fails()


def test_a_table_of_another_type_in_pyproject_is_an_error(project: Path) -> None:
    (project / "pyproject.toml").write_text("tool.tallystick = 3")
    assert "[tool.tallystick]" in fails()


WRONG = [
    ("backend", 3),
    ("pipeline", "../up"),
    ("pipeline", "line\n"),
    ("app", "a\0b"),
    ("host", "\ud800"),
    ("tags", ["a"]),
    ("tags", {"a": 1}),
    ("tags", {"a": "\0"}),
    ("home", ""),
    ("home", 3),
    ("home", "a\0b"),
    ("strict", "no"),
    ("sample_rate", 0),
    ("sample_rate", 1.01),
    ("sample_rate", float("nan")),
    ("sample_rate", True),
    ("scrub", "password"),
    ("deliver", "process"),
    ("exit_timeout_seconds", -1),
    ("exit_timeout_seconds", float("inf")),
    ("spool_limit_bytes", 1e9),
    ("segment_bytes", 65_535),
    ("when_full", "explode"),
    ("fsync", "sometimes"),
    ("batch_records", 0),
    ("retention_days", 0),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_an_error_with_value_place_and_remedy(name: str, value: object) -> None:
    message = fails(**{name: value})
    assert message.startswith(f"{name}: ")
    assert "(argument)" in message
    assert message.endswith(f"must be {table()[name].must}")


TEXTS = [
    ("strict", "yes", True),
    ("strict", "OFF", False),
    ("sample_rate", "0.25", 0.25),
    ("segment_bytes", "1_048_576", 1_048_576),
    ("retention_days", "90", 90),
    ("tags", "env=prod, region = eu", {"env": "prod", "region": "eu"}),
    ("tags", '{"a": "b,c"}', {"a": "b,c"}),
    ("scrub", "Password, IBAN,password", ("password", "iban")),
    ("scrub", '["a"]', ("a",)),
    ("app", "007", "007"),
    ("namespace", "null", "null"),
]


@pytest.mark.parametrize(("name", "text", "value"), TEXTS)
def test_the_environment_says_numbers_lists_and_tables_as_text(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    monkeypatch.setenv(f"TALLYSTICK_{name.upper()}", text)
    assert getattr(load_settings(), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("strict", "perhaps"), ("tags", "novalue"), ("tags", "{"), ("tags", "=x"), ("batch_records", "5k"),
     ("fsync", "NEVER"), ("spool_limit_bytes", "1e400"), ("exit_timeout_seconds", "inf")],
)  # fmt: skip
def test_a_text_that_cannot_be_is_an_error_naming_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(f"TALLYSTICK_{name.upper()}", text)
    message = fails()
    assert f"(environment TALLYSTICK_{name.upper()}) must be {table()[name].must}" in message
    assert repr(text) in message


@given(name=st.sampled_from(sorted(table())), raw=st.binary(min_size=1).map(lambda raw: raw.replace(b"\0", b"")))
def test_whatever_the_environment_holds_the_answer_is_settings_or_a_settings_error(name: str, raw: bytes) -> None:
    key = f"TALLYSTICK_{name.upper()}"
    before = dict(os.environ)
    os.environb[key.encode()] = raw
    try:
        load_settings()
    except SettingsError as error:
        assert key in str(error)  # noqa: PT017 - both ends are right, and this one must name the place
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_a_home_is_absolute_and_starts_from_where_it_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TALLYSTICK_HOME")
    (project / "tallystick.toml").write_text('home = "var"')
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    assert load_settings().home == project / "var"
    assert load_settings(home="var").home == project / "sub" / "var"
    monkeypatch.setenv("HOME", "/home/ada")
    assert load_settings(home="~/t").home == Path("/home/ada/t")
    assert "(argument)" in fails(home="~nobody-has-this-name/t")


@pytest.mark.skipif(sys.platform != "linux", reason="each platform has its own folder; this one is Linux's")
def test_the_default_home_is_the_users_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TALLYSTICK_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert load_settings().home == Path("/home/ada/.local/state/tallystick")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert load_settings().home == Path("/state/tallystick")
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert load_settings().home == Path("/home/ada/.local/state/tallystick")


@pytest.mark.parametrize(
    ("command", "app"),
    [(["shop.py"], "shop"), (["-m", "package"], "package"), (["-c", "import script; script.show()"], "")],
)
def test_the_application_is_named_by_its_script(project: Path, command: list[str], app: str) -> None:
    show = "from tallystick.settings import load_settings\ndef show(): print(load_settings().app, end='')\n"
    (project / "script.py").write_text(show)
    (project / "shop.py").write_text(f"{show}show()")
    (project / "package").mkdir()
    (project / "package" / "__main__.py").write_text(f"{show}show()")
    assert subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True).stdout == app


def test_a_password_never_shows_in_settings_or_errors(project: Path) -> None:
    url = "postgresql://ada:hunter2@db/shop?sslpassword=hunter2"
    settings = load_settings(backend=url)
    assert settings.backend_url == url
    (project / "tallystick.toml").write_text(f'app = ["{url}"]')
    for text in (repr(settings), str(settings), f"{settings}", settings.shown("backend"), fails()):
        assert "hunter2" not in text
        assert "***" in text


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load_settings().strict = True  # type: ignore[misc]


def test_the_table_has_a_sentence_and_a_remedy_for_every_setting() -> None:
    assert set(table()) == {
        name for name in Settings.__struct_fields__ if name not in ("sources", "whole", "whole_channel")
    }
    for name, setting in table().items():
        assert setting.env == f"TALLYSTICK_{name.upper()}"
        assert setting.sentence.endswith(".")
        assert setting.must


def test_asking_for_the_source_of_no_setting_is_an_error() -> None:
    with pytest.raises(SettingsError, match="did you mean backend"):
        load_settings().source("backnd")


def in_odd_place(program: str, **environment: str) -> str:
    """What a process of its own prints; it may change its user, folder and environment."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("TALLYSTICK_", "XDG_"))}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_a_deleted_working_directory_stops_no_start(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    program = f"""
import os
os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})
from tallystick import Metrics
metrics = Metrics(home={str(tmp_path / "home")!r})
metrics.increment("a")
print(metrics.flush(20), dict(metrics.dropped))
"""
    assert in_odd_place(program) == "True {}\n"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become a user without a home")
def test_a_home_is_asked_for_only_when_something_is_kept_there() -> None:
    program = """
import os
from tallystick import Metrics, SettingsError
Metrics("memory://").increment("a")  # while what it imports can be read
os.environ.pop("HOME", None); os.chdir("/"); os.setgroups([]); os.setgid(12345); os.setuid(12345)
Metrics("memory://").increment("a")
try:
    Metrics()
except SettingsError as error:
    print(error)
"""
    said = in_odd_place(program)
    assert said.startswith("home: ")
    assert "set TALLYSTICK_HOME" in said
    assert "Traceback" not in said


def test_a_broken_pyproject_of_another_project_stops_no_start(project: Path) -> None:
    (project / "pyproject.toml").write_text("[project\ndependencies = ['tallystick']\n")
    assert load_settings().source("strict") == "default"
    (project / "pyproject.toml").write_text("[tool.tallystick]\nstrict = yes\n")
    assert "is not TOML" in fails()
    (project / "pyproject.toml").write_text("tool = 5\nname = 'tallystick'\n")
    assert load_settings().source("strict") == "default"


def test_a_byte_order_mark_is_no_part_of_a_file(project: Path) -> None:
    (project / "tallystick.toml").write_bytes(b"\xef\xbb\xbfstrict = true\n")
    assert load_settings().strict


def test_neither_a_dump_nor_a_pickle_of_the_settings_holds_the_password() -> None:
    settings = load_settings(backend="postgresql://ada:s3cr3t@h/db")
    assert settings.backend_url == "postgresql://ada:s3cr3t@h/db"
    assert settings.backend == "postgresql://ada:***@h/db"
    dumped = msgspec.structs.asdict(settings)
    assert "s3cr3t" not in repr(dumped) + repr(settings) + repr(msgspec.structs.astuple(settings))
    with pytest.raises(TypeError, match="TALLYSTICK_BACKEND"):
        pickle.dumps(settings)
    assert copy.deepcopy(settings).backend_url == settings.backend_url
    assert pickle.loads(pickle.dumps(load_settings(backend="sqlite:///m.db"))).backend_url == "sqlite:///m.db"


def test_tags_of_all_records_that_leave_a_segment_no_room_are_refused_at_once() -> None:
    tags = {f"tag{number}": "x" * 900 for number in range(20)}
    said = fails(tags=tags, segment_bytes=65_536)
    assert said.startswith("tags: they take ")
    assert "segment_bytes" in said
    assert load_settings(tags=tags).tags == tags
