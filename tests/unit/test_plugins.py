"""What `backend_from_url` promises: the right class for a scheme, entry points included, and errors that help."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from tallystick.backends.memory import MemoryBackend
from tallystick.errors import MissingExtra, SettingsError
from tallystick.plugins import BACKENDS, backend_from_url, missing_extra, schemes


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution `far` that registers schemes of its own, and tries to take one of ours."""
    (tmp_path / "far-1.0.dist-info").mkdir()
    (tmp_path / "far-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: far\nVersion: 1.0\n")
    (tmp_path / "far-1.0.dist-info" / "entry_points.txt").write_text(
        "[tallystick.backends]\nfar = far:Far\nbroken = far_nowhere:Far\nbare = far:Bare\nmemory = far:Far\n"
    )
    (tmp_path / "far.py").write_text(
        "from tallystick.backends.base import BaseBackend\n"
        "class Bare: ...\n"
        "class Far(BaseBackend):\n"
        "    def report(self, name, kind, value, tags, id): ...\n"
        "    @classmethod\n"
        "    def from_url(cls, url):\n"
        "        int(url.rpartition(':')[2])\n"
        "        backend = cls()\n"
        "        backend.url = url\n"
        "        return backend\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "far", raising=False)
    return tmp_path


def fails(url: str) -> str:
    with pytest.raises(SettingsError) as caught:
        backend_from_url(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def test_a_url_gives_the_backend_of_its_scheme_in_any_case() -> None:
    assert isinstance(backend_from_url("memory://"), MemoryBackend)
    assert isinstance(backend_from_url("MEMORY://"), MemoryBackend)


@pytest.mark.parametrize("scheme", sorted(BACKENDS))
def test_every_scheme_of_the_table_names_a_class_that_takes_a_url(scheme: str) -> None:
    module, _, name = BACKENDS[scheme].partition(":")
    probe = f"import {module} as m; assert callable(m.{name}.from_url); assert m.{name}.inline in (True, False)"
    subprocess.run([sys.executable, "-c", probe], check=True)


def test_an_entry_point_adds_a_scheme(distribution: Path) -> None:
    assert backend_from_url("far://host:1").url == "far://host:1"
    assert "far" in schemes()


def test_an_entry_point_cannot_take_one_of_our_schemes(distribution: Path) -> None:
    assert isinstance(backend_from_url("memory://"), MemoryBackend)


def test_an_unknown_scheme_is_an_error_with_the_known_ones_and_a_suggestion(distribution: Path) -> None:
    message = fails("memry://ada:hunter2@host")
    assert "no backend for memry://" in message
    assert "did you mean memory://?" in message
    assert ", ".join(schemes()) in message
    assert "hunter2" not in message


@pytest.mark.parametrize("text", ["", "metrics.db", "ada:hunter2@host"])
def test_what_is_no_url_is_an_error_with_an_example(text: str) -> None:
    message = fails(text)
    assert "is no URL" in message
    assert "sqlite:///metrics.db" in message
    assert "hunter2" not in message


def test_a_url_that_its_backend_cannot_read_is_an_error_without_the_password(distribution: Path) -> None:
    message = fails("far://ada:hunter2@host:port")
    assert "cannot be read" in message
    assert "ada:***@host" in message


def test_a_registered_backend_that_cannot_be_imported_is_named(distribution: Path) -> None:
    assert "broken:// is registered as far_nowhere:Far, which cannot be imported" in fails("broken://x")
    assert "far:Bare, which has no from_url(url)" in fails("bare://x")


def test_a_missing_driver_is_an_error_that_says_what_to_install() -> None:
    error = missing_extra("mongodb", ImportError("No module named 'pymongo'", name="pymongo"))
    assert isinstance(error, MissingExtra)
    assert str(error) == "pymongo is not installed; run: pip install 'tallystick[mongodb]'"
    assert error.name == "pymongo"


def test_importing_the_plugins_imports_no_backend() -> None:
    probe = "import sys, tallystick.plugins; print([m for m in sys.modules if m.startswith('tallystick.backends')])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip() == "[]"
