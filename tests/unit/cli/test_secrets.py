"""A third party's backend that puts its password into its errors: no command shows it, and no file keeps it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from tests.unit.cli.calling import call

from tallystick.backends.sqlite import SqliteBackend
from tallystick.pipelines import summaries
from tallystick.testing import counters, make_batch

MODULE = '''
from urllib.parse import unquote, urlsplit
from tallystick.backends import BaseBackend

class Leaky(BaseBackend):
    """leaky://user:password@down fails to open; any other host fails to write."""
    address = "leaky://db"
    def __init__(self, url): self.parts = urlsplit(url)
    @classmethod
    def from_url(cls, url): return cls(url)
    def fail(self): raise RuntimeError(f"login of {self.parts.username} with {unquote(self.parts.password)!r} failed")
    def open(self):
        if self.parts.hostname == "down": self.fail()
    def report(self, name, kind, value, tags, id):
        if name != "good": self.fail()

class Deaf(Leaky):
    """deaf://user:password@host opens, and answers nothing."""
    def query(self, query): self.lose()
    def records(self, query, *, newest=None): yield self.lose()
    def setup(self): self.lose()
    def check(self): self.lose()
    def indices(self): self.lose()
    def prune(self, before): self.lose()
    def lose(self): raise ConnectionError(f"lost with {self.parts.password}") if self.parts.path else self.fail()
'''
SECRETS = ("hunter/2", "hunter%2F2")


@pytest.fixture(autouse=True)
def leaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that registers `leaky://` and `deaf://`."""
    info = tmp_path / "site" / "leaky-1.0.dist-info"
    info.mkdir(parents=True)
    (info.parent / "leaky_backend.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tallystick.backends]\nleaky = leaky_backend:Leaky\ndeaf = leaky_backend:Deaf\n"
    )
    monkeypatch.syspath_prepend(str(info.parent))


@pytest.mark.parametrize("host", ["down", "choosy"])
def test_an_error_with_the_urls_password_shows_it_nowhere(
    host: str, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKEND", f"leaky://ada:hunter%2F2@{host}")
    failed = host == "down"
    with caplog.at_level(logging.DEBUG):
        done = [call("send", "increment", name, "--wait", "0.3") for name in ("a", "good")]
        done[1:] = [call("agent", "--once", exits=1 if failed else 0)]
    done += [call("status"), call("status", "--json"), call("dead", "list"), call("doctor", exits=1 if failed else 0)]
    texts = [caplog.text, *(one.output for one in done)]
    texts += [path.read_bytes().decode("utf-8", "replace") for path in home.rglob("*") if path.is_file()]
    assert [secret for secret in SECRETS for text in texts if secret in text] == []
    assert "login of ada with '***' failed" in done[-1 if failed else 4].output


@pytest.mark.parametrize("host", ["down", "choosy"])
def test_copying_shows_no_password_of_either_database(host: str, tmp_path: Path) -> None:
    old = SqliteBackend(tmp_path / "old.db")
    old.open()
    old.write(make_batch(*counters(2)))
    old.close()
    done = call("copy", old.address, f"leaky://ada:hunter%2F2@{host}", "--json", exits=1)
    assert [secret for secret in SECRETS if secret in done.output] == []
    if host == "choosy":
        reasons = json.loads(done.stdout)["rejected"].values()
        assert set(reasons) == {"RuntimeError: login of ada with '***' failed"}


ASKING = [
    ["query", "a"],
    ["query", "a", "--aggregate", "sum", "--json"],
    ["tail"],
    ["tail", "--no-follow"],
    ["top", "--count", "1"],
    ["export"],
    ["export", "--format", "jsonl"],
    ["setup"],
    ["check"],
    ["indices"],
    ["prune", "--older-than", "1d", "--yes"],
]


@pytest.mark.parametrize("path", ["", "/lost"])
@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_what_a_driver_raises_when_it_is_asked_is_one_line(words: list[str], path: str) -> None:
    done = call(*words, "--backend", f"deaf://ada:hunter%2F2@db{path}", exits=1)
    why = "ConnectionError: lost with ***" if path else "RuntimeError: login of ada with '***' failed"
    assert done.stderr == f"tallystick: leaky://db failed: {why}\n"


def test_a_driver_that_fails_in_the_middle_of_a_copy_or_an_export_is_one_line_and_leaves_no_file(
    tmp_path: Path,
) -> None:
    url = "deaf://ada:hunter%2F2@db"
    said = "tallystick: leaky://db failed: RuntimeError: login of ada with '***' failed\n"
    assert call("copy", url, f"sqlite:///{tmp_path}/new.db", exits=1).stderr == said
    before = sorted(tmp_path.iterdir())
    assert call("export", "--backend", url, "-o", tmp_path / "x.csv", exits=1).stderr == said
    assert sorted(tmp_path.iterdir()) == before


def test_a_mistake_of_our_own_is_not_said_to_be_the_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setitem(mistaken.__globals__, "__name__", "tallystick.pipelines.summaries")
    monkeypatch.setattr(summaries, "find_span", mistaken)
    call("send", "increment", "a")
    with pytest.raises(KeyError, match="ours"):
        call("query", "a")
