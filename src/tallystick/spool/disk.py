"""What the spool asks of the disk: locks, room, and writes that survive a power failure.

Everything that must be durable goes through these functions, so that a test can put a disk under them that
loses and reorders what was not synced.

Invariants
- A file replaced by `replace_file` is, after the death of any process, the old one or the new one, whole. With `whole`
  that holds after a power failure, too, and with `durable` it is the new one then.
- A lock is a `flock`: it ends with its last descriptor, so a dead process holds none. Descriptors of locks are closed
  in a forked child, or the child would keep its dead parent's lock alive; so no fork happens between the moment when
  such a file is opened and the moment when the hook that closes it knows of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from tallystick.errors import SpoolError, SpoolUnsupported
from tallystick.forks import inherited, no_fork

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BUSY: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN})
FILE_MODE: Final = 0o660
OWN_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""With these our own files are opened: links are not followed, and a FIFO under one of our names holds nothing up."""
FOLDER_MODE: Final = 0o770
_TAIL_BYTES: Final = 1 << 16
HOME_REMEDY: Final = "set home (TALLYSTICK_HOME) to a folder that this user may write to"


def make_folder(path: Path) -> None:
    """Creates the folder and its parents, durably. Raises `SpoolError` with the remedy when it cannot be used."""
    try:
        missing = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
        for folder in reversed(missing):
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                owner = os.stat(folder.parent)
                os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
            sync_folder(folder.parent)
        path.mkdir(exist_ok=True)  # raises when it is no folder
        usable = os.access(path, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise SpoolError(f"cannot make the folder {path}: {error.strerror}; {HOME_REMEDY}") from error
    if not usable:
        raise SpoolError(f"this user may not write to {path}; change its owner, or set home to another folder")


def open_own(path: Path, flags: int) -> int:
    """Open one of our own files, or make it. Raises `OSError` for a link, a FIFO, a folder or a device of its name."""
    fd = os.open(path, flags | OWN_FLAGS, FILE_MODE)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "this is no regular file; move it away", str(path))
        if flags & os.O_CREAT:
            give_to_owner(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_own(path: Path) -> bytes:
    """All of one of our own files. Raises `OSError` as `open_own` does."""
    with open(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read()


def give_to_owner(fd: int, path: Path) -> None:
    """What root makes in another user's home belongs to that user, like the folder that it is in."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = os.stat(path.parent)
        found = os.fstat(fd)
        if (found.st_uid, found.st_gid) != (owner.st_uid, owner.st_gid) and found.st_uid == 0:
            os.fchown(fd, owner.st_uid, owner.st_gid)


def try_lock(fd: int, path: Path, *, wait: bool = False) -> bool:
    """Take the exclusive lock of an open file; False when another descriptor holds it (never with `wait`)."""
    if fcntl is None:
        raise SpoolUnsupported(f"{path}: this platform has no flock; use an inline backend (log://, memory://) here")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise SpoolUnsupported(
            f"{path}: this file system cannot lock files ({error.strerror}); set home to a folder on a local disk"
        ) from error
    return True


def allocate(fd: int, size_bytes: int) -> None:
    """Give the file real blocks: a mapped sparse file kills the process (SIGBUS) when the disk is full."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size_bytes)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    zeros = bytes(1 << 16)  # macOS, and file systems that cannot
    for start in range(0, size_bytes, len(zeros)):
        os.pwrite(fd, zeros[: size_bytes - start], start)


def sync(fd: int) -> None:
    os.fsync(fd)


def sync_file(path: Path) -> None:
    """Make durable what any process wrote to this file, also through a mapping."""
    fd = open_own(path, os.O_RDONLY)
    try:
        sync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Make renames, creations and removals in this folder durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        sync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes, *, whole: bool = False, durable: bool = False) -> None:
    """The file has this content, whole or not at all; what holds after a power failure is said above."""
    aside = path.with_name(f"{path.name}.new")
    fd = open_own(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(fd, data)
        if whole or durable:
            sync(fd)
    finally:
        os.close(fd)
    rename(aside, path)
    if durable:
        sync_folder(path.parent)


def write_all(fd: int, data: bytes) -> None:
    """All of it, or an `OSError`: a full disk makes `write` stop half-way without one."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def rename(old: Path, new: Path) -> None:
    os.replace(old, new)


def end_of_lines(fd: int, at_least: int = 0) -> int:
    """Where the last whole line of the file ends: preallocated room and a torn last line are beyond it."""
    high = os.fstat(fd).st_size
    while high > at_least:
        low = max(at_least, high - _TAIL_BYTES)
        newline = os.pread(fd, high - low, low).rfind(b"\n")
        if newline >= 0:
            return low + newline + 1
        high = low
    return at_least


def cut_to_lines(fd: int) -> int:
    """Cut the file behind its last whole line when it ends in room without lines; by how many bytes. Under its lock."""
    size = os.fstat(fd).st_size
    if not size or os.pread(fd, 1, size - 1) != b"\0" or not (end := end_of_lines(fd)):
        return 0
    os.ftruncate(fd, end)
    return size - end


def remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class LockFile:
    """A lock that one process (and one object in it) holds at a time.

    `held` is True only while the file that is locked is still the file of that name: somebody who deletes the
    lock file and makes another cannot have two holders believe in themselves for longer than one check.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self._create = os.O_CREAT if create else 0
        self._fd = -1
        inherited(self)

    def acquire(self, *, wait: bool = False) -> bool:
        if self.held:
            return True
        return self._take(wait=wait) and self.held

    def _take(self, *, wait: bool = False) -> bool:
        """Lock whatever file has this name now."""
        self.release()
        with no_fork:
            self._fd = os.open(self.path, os.O_RDWR | self._create | OWN_FLAGS, FILE_MODE)
            if self._create:
                give_to_owner(self._fd, self.path)
        try:
            locked = try_lock(self._fd, self.path, wait=wait)
        except BaseException:
            self.release()
            raise
        if not locked:
            self.release()
        return locked

    @property
    def held(self) -> bool:
        if self._fd < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path))
        except OSError:
            return False

    def touch(self) -> bool:
        """Set the file's time, when the lock is held. Whether it is."""
        if not self.held:
            return False
        with contextlib.suppress(OSError):
            os.utime(self._fd)
        return True

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def forget_parent(self) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of this file right now."""
    probe = LockFile(path, create=False)
    try:
        return not probe._take()
    except FileNotFoundError:
        return False
    finally:
        probe.release()
