"""A process that holds the pipeline and does not move holds up delivery for seconds, not for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.acceptance.stage import until

from tallystick.agent import pulse
from tallystick.agent.election import Election
from tallystick.spool.folder import Folder

HOLDER = """
import sys, time
from tallystick.agent import pulse
from tallystick.agent.election import Election
from tallystick.spool.folder import Folder
pulse.PULSE_SECONDS = 0.02
election = Election(Folder(sys.argv[1]), as_process=sys.argv[2] == "process")
assert election.won()
print("elected", flush=True)
while election.kept():
    time.sleep(0.005)
print("deposed", flush=True)
while not election.won():
    time.sleep(0.005)
print("elected", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "LOOK_SECONDS", 0.05)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("mode", ["thread", "process"])
def test_who_does_not_move_is_deposed_and_notices_when_it_moves_again(mode: str, home: Path) -> None:
    folder = Folder(home).open()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "elected\n"
        election = Election(folder, as_process=False)
        began = time.monotonic()
        while time.monotonic() - began < 1.5:  # as long as it moves, it is left alone
            assert not election.won()
            time.sleep(0.01)
        os.kill(holder.pid, signal.SIGSTOP)
        assert until(election.won)
        assert election.kept()
        os.kill(holder.pid, signal.SIGCONT)
        assert holder.stdout.readline() == "deposed\n"
        if mode == "process":  # it takes precedence again
            assert until(lambda: not election.kept())
        election.resign()
        assert holder.stdout.readline() == "elected\n"
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.usefixtures("quick")
def test_of_two_that_depose_one_does_not_remove_what_the_other_has_just_locked(home: Path) -> None:
    folder = Folder(home).open()
    first, second = Election(folder, as_process=False), Election(folder, as_process=False)
    assert first.won()
    first._pulse.stop()
    watch = second._watches[1]
    seen = watch._stamp()
    assert seen is not None
    os.utime(folder.agent_lock, ns=(1, 1))
    watch._depose(seen)
    assert first.kept()


def test_takeover_needs_less_than_thirty_seconds() -> None:
    assert pulse.LOOKS * 1.0 + pulse.PULSE_SECONDS < 30
