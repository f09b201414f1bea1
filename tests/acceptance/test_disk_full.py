"""A disk that is full, and freed again: recording goes on, drops are counted exactly, and what was kept arrives.

The disk is a tmpfs of 8 MiB in a mount namespace of its own, so nothing else can fill or free it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.latency import assert_never_blocked

from tallystick.spool.folder import RESERVE_BYTES

ROOT = Path(__file__).parents[2]
DISK_BYTES = 8 << 20


def in_small_disk(mount_point: Path, command: list[str]) -> list[str]:
    """The command that runs `command` with a small disk at the mount point."""
    mount = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && exec "$@"'
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    return [*unshare, "sh", "-c", mount, str(mount_point), *command]


@pytest.fixture(scope="module")
def mount_point(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mount_point = tmp_path_factory.mktemp("disk")
    possible = shutil.which("unshare") is not None and (
        subprocess.run(in_small_disk(mount_point, ["true"]), capture_output=True).returncode == 0
    )
    if not possible:
        reason = "needs a mount of its own: Linux, `unshare`, and root or user namespaces"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return mount_point


@pytest.fixture(scope="module")
def found(mount_point: Path, thorough: bool) -> Any:
    """What the writer on the small disk met with; see programs/full_disk.py."""
    count = 1_000_000 if thorough else 80_000
    command = [sys.executable, "-m", "tests.acceptance.programs.full_disk", str(mount_point), str(count)]
    run = subprocess.run(in_small_disk(mount_point, command), cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_recording_on_a_full_disk_never_blocks_for_five_milliseconds(found: Any) -> None:
    assert found["dropped_when_full"] > 0
    assert_never_blocked(found["figures"])


def test_every_record_is_delivered_dead_or_counted_as_dropped_by_name(found: Any) -> None:
    asked = Counter(found["asked"])
    accounted = Counter(found["stored"]) + Counter(found["dead"])
    for names in found["dropped"].values():
        accounted += Counter(names)
    assert accounted == asked
    assert Counter(found["accepted"]) == asked
    assert set(found["dropped"]) == {"disk_full"}
    assert found["imbalance"] == {}
    assert found["stored_twice"] == 0


def test_after_the_disk_is_freed_everything_pending_arrives_and_nothing_more_is_dropped(found: Any) -> None:
    assert found["done"]
    assert found["pending"] == {}
    assert found["stored"] == found["delivered"]
    assert found["dropped_after"] == 0
    assert found["reserve_again"]


def test_the_reserve_lets_positions_and_dead_letters_be_written_on_a_full_disk(found: Any) -> None:
    notes = found["notes"]
    assert notes["free_before"] == 0
    assert notes["received"] > 0
    assert notes["dead"] >= 1
    assert notes["positions"] + notes["dead"] == notes["received"]
    assert notes["reserve_bytes"] < RESERVE_BYTES


def test_the_room_of_the_reserve_is_not_taken_by_records(found: Any) -> None:
    assert found["notes"]["segments_more"] <= 0


@pytest.mark.parametrize("home", ["made", "missing"])
def test_the_doctor_of_a_full_disk_speaks_of_the_disk_and_of_no_other_cause(mount_point: Path, home: str) -> None:
    fill = 'test "$1" = missing || mkdir "$0/home"; dd if=/dev/zero of="$0/fill" bs=4k 2> /dev/null;'
    look = 'TALLYSTICK_HOME="$0/home" exec "$2" -m tallystick doctor'
    command = ["sh", "-c", fill + look, str(mount_point), home, sys.executable]
    run = subprocess.run(in_small_disk(mount_point, command), cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (1, "")
    lines = [line for line in run.stdout.splitlines() if str(mount_point) in line and not line.startswith("ok")]
    assert len(lines) == 1, run.stdout
    assert lines[0].startswith(f"fail  0 B free on the disk of {mount_point}")
