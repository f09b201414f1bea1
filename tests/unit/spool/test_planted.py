"""Foreign things under the names of our own files, and files that root makes in another user's home."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tallystick.agent.report import read
from tallystick.spool import disk
from tallystick.spool.account import account
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
@pytest.mark.parametrize("name", ["positions", "agent", "about", "delivering", "dead", "reserve"])
def test_what_is_no_file_of_ours_is_neither_waited_for_nor_written_through(
    folder: Folder, name: str, make: Callable[[Path], None]
) -> None:
    path = getattr(folder, name)
    make(path)
    with pytest.raises(OSError):
        disk.open_own(path, os.O_RDWR | os.O_CREAT)
    assert Positions(folder).fresh
    assert read(folder) is None
    assert folder.description() == {}
    assert folder.keep_reserve()
    if name != "dead":
        assert account(folder).imbalance() == {}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_in_a_home_belongs_to_the_homes_owner(home: Path) -> None:
    home.mkdir(exist_ok=True)
    os.chown(home, 12345, 12345)
    folder = Folder(home, "p").open()
    folder.describe(backend="x")
    folder.keep_reserve()
    lock = disk.LockFile(folder.agent_lock)
    assert lock.acquire()
    lock.release()
    made = [folder.path, folder.segments, *(path for path in folder.path.rglob("*") if path.is_file())]
    assert len(made) == 5
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(12345, 12345)}
