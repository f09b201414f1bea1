"""scripts/services: finding a server's processes again, and only those. The servers themselves are in use elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripts.services import _processes
from scripts.services._processes import Session, process
from tests import services
from tests.services import SCRIPTS, kill, service

FAMILY = "setsid sleep 100 & echo $!; sleep 100 & echo $!; wait"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path / "session.json")
    yield session
    session.kill()


@contextlib.contextmanager
def server(session: Session, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A server and the pids of its children: one with a session of its own, one in its session."""
    log = folder / "log"
    with session.start(["sh", "-c", FAMILY], log) as leader:
        while len(pids := [int(line) for line in log.read_text().split()]) < 2:
            assert leader.poll() is None, log.read_text()
            time.sleep(0.01)
        yield leader, pids


def runs(pid: int) -> bool:
    found = process(pid)
    return found is not None and not found.zombie


def test_kill_ends_the_whole_family_also_children_with_sessions_of_their_own(session: Session, tmp_path: Path) -> None:
    with server(session, tmp_path) as (leader, children):
        session.kill()
        assert not any(map(runs, [leader.pid, *children]))


def test_a_server_is_found_after_its_leader_was_killed(session: Session, tmp_path: Path) -> None:
    with server(session, tmp_path) as (leader, (_, child)):
        leader.kill()
        leader.wait()
        assert child in [one.pid for one in session.members()]


@pytest.mark.parametrize(
    "untrue",
    [
        pytest.param({"started": 1}, id="the pid has a new owner"),
        pytest.param({"boot": "another"}, id="after a reboot"),
    ],
)
def test_a_stranger_with_the_pid_of_a_dead_server_is_left_alone(session: Session, untrue: dict[str, object]) -> None:
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as stranger:
        try:
            now = process(stranger.pid)
            assert now
            known = {"pid": now.pid, "started": now.started, "boot": _processes.boot()}
            session.path.write_text(json.dumps(known | untrue))
            assert session.members() == []
            session.kill()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_garbled_note_of_a_server_is_no_server(session: Session) -> None:
    session.path.write_text("{")
    assert session.members() == []


def test_each_script_says_its_address_without_starting_anything(tmp_path: Path) -> None:
    environment = {**os.environ, "TALLYSTICK_SERVICES": str(tmp_path)}
    command = [sys.executable, str(SCRIPTS / "all"), "env"]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(set(lines)) >= 12
    assert all("127.0.0.1:" in line for line in lines)


def test_an_unknown_server_is_refused_by_name() -> None:
    done = subprocess.run([sys.executable, str(SCRIPTS / "all"), "status", "oracle"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no server 'oracle'; there are elasticsearch" in done.stderr
    with pytest.raises(ValueError, match="no server 'oracle' in"):
        service("oracle")


def test_a_shared_server_is_never_killed_by_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_own", {})  # other tests of this run may have servers of their own
    with pytest.raises(ValueError, match="only a server of one's own is killed"):
        kill("postgresql")
