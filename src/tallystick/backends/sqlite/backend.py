"""Records in one SQLite file: nothing to install or start, readable by anything that reads SQLite.

What it keeps
- A batch is one transaction: its rows and its line in the ledger are there together or not at all, and `write`
  returns after the commit reached the disk (`synchronous = FULL`), since the spool forgets the records then.
- Two processes may write at once: each transaction takes the write lock at its start, so what it reads of the ledger
  and of the series holds until its end.
- Questions are asked through a connection of their own, opened for each: they never wait for the writer, may come
  from any thread, and leave nothing behind that a fork could carry over.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from urllib.parse import unquote, urlsplit

from tallystick.backends._path import own_path
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.sqlite import care, segments
from tallystick.backends.sqlite import query as queries
from tallystick.backends.sqlite import schema as schemas
from tallystick.backends.sqlite.foreign import answer_foreign
from tallystick.backends.sqlite.rows import Writer
from tallystick.errors import Misconfigured, SettingsError, Unavailable
from tallystick.masking import mask_url
from tallystick.moments import nanoseconds
from tallystick.processes import PerProcess
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

OLDEST_SQLITE: Final = (3, 25, 0)
"""The first with window functions, which queries need."""

FILE_MODE: Final = 0o660
"""For owner and group, as the spool's files are; the umask may take more away."""

_PERSON_MUST_ACT: Final = {
    sqlite3.SQLITE_PERM: "give this user the right to it",
    sqlite3.SQLITE_READONLY: "give this user the right to write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "the folder must exist and be writable, and the path must be no folder",
    sqlite3.SQLITE_NOTADB: "this file is no SQLite database; name another, or move this one away",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away, and save what can be saved with sqlite3's .recover",
    sqlite3.SQLITE_AUTH: "give this user the right to it",
    sqlite3.SQLITE_ERROR: "the tables are not as tallystick makes them; `tallystick check` says more",
}
"""By primary result code: the remedy. All other trouble (busy, locked, full, input/output, memory) passes by itself."""


class SqliteBackend:
    """`sqlite:///relative.db`, `sqlite:////absolute/path.db`: three slashes, then the path.

    `busy_timeout_seconds` is how long a call waits for another process's transaction before it is `Unavailable`.
    """

    inline: ClassVar[bool] = False

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_seconds: float = 5.0) -> None:
        self.path = own_path(path)
        self.busy_timeout_seconds = busy_timeout_seconds
        self._held = PerProcess(sqlite3.Connection.close)
        self._writer: Writer | None = None
        self._file: tuple[int, int] | None = None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """SQLAlchemy's convention; the part after `sqlite:///` is the path, percent-encoded where needed."""
        parts, shown = urlsplit(url), mask_url(url)
        path = unquote(parts.path[1:])
        if parts.netloc or not parts.path.startswith("/"):
            raise SettingsError(
                f"backend: {shown!r} names a host; write sqlite:///relative.db or sqlite:////absolute.db"
            )
        if parts.query or parts.fragment:
            raise SettingsError(f"backend: {shown!r} has options, and sqlite takes none; write ? as %3F and # as %23")
        if path in ("", ":memory:"):
            raise SettingsError(f"backend: {shown!r} names no file that processes can share; use memory:// for tests")
        return cls(path)

    @property
    def address(self) -> str:
        path = str(self.path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")
        return f"sqlite:///{path}"

    def __repr__(self) -> str:
        return f"SqliteBackend({str(self.path)!r})"

    def open(self) -> None:
        """Cheap when open. A file that was moved away or removed is made anew: writing on would go to nowhere."""
        if self._connection is None or self._file != _identity(self.path):
            self._make_ready()

    def write(self, batch: Batch) -> WriteResult:
        if not batch.records:
            return ACCEPTED
        self.open()
        assert self._writer is not None
        with self._translated():
            rejected = self._writer.write(batch)
        return WriteResult(rejected) if rejected else ACCEPTED

    def query(self, query: Query) -> list[Series]:
        with self._reader() as connection:
            return queries.answer(connection, query)

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        with self._reader() as connection:
            return answer_foreign(connection, query, foreign)

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        with self._reader() as connection:
            yield from queries.read(connection, query, newest)

    def close(self) -> None:
        with suppress(sqlite3.Error, Unavailable):  # then the log stays where it is, and `setup` says whose it is
            self._complete()
        self._held.close()

    @property
    def _connection(self) -> sqlite3.Connection | None:
        return self._held.get()

    def setup(self) -> list[str]:
        done = self._make_ready()
        assert self._connection is not None
        with self._translated():
            return done + segments.adopt(self._connection)

    def _make_ready(self) -> list[str]:
        """Open anew, with the tables there; says what was done for that."""
        with self._translated():
            self._complete()
        self.close()
        with self._translated():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            spare_log(self.path)
            _make(self.path)
            connection = self._connect("rwc")
            try:
                _use_wal(connection, self.busy_timeout_seconds)
                done = schemas.ensure(connection, str(self.path))
            except BaseException:
                connection.close()
                raise
        self._held.put(connection)
        self._writer, self._file = Writer(connection), _identity(self.path)
        return done

    def _complete(self) -> None:
        """Our file was moved away, but its log stayed behind, and the next file of this name throws it away: so what
        stands in the log goes into the moved file first. Raises `Unavailable` while somebody reads that one.
        """
        connection = self._connection
        if connection is None or self._file == _identity(self.path):
            return
        try:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # it was moved away because it is damaged: its log stays as it is
            return
        if busy:
            raise Unavailable(f"{self.path} was moved away while it is read; it is made anew when that ends")

    def check(self) -> list[Line]:
        if not self.path.exists():
            spare_log(self.path)
            return [Line(ok=False, what=f"{self.path} does not exist", remedy="tallystick setup makes it")]
        with self._reader() as connection:
            return care.check(connection, self.path)

    def indices(self) -> list[dict[str, Any]]:
        with self._reader() as connection:
            return care.indices(connection, self.path)

    def prune(self, before: float) -> int:
        """Forget in slices of a moment each, so that deliveries go on meanwhile. The file keeps its size; the freed
        pages are used again."""
        with self._translated(), closing(self._connect("rw")) as connection:
            return care.prune(connection, nanoseconds(before, "before"))

    def _connect(self, mode: str) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            oldest = ".".join(map(str, OLDEST_SQLITE))
            raise Misconfigured(f"SQLite {sqlite3.sqlite_version} is too old; Python needs one of {oldest} or newer")
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}",
            uri=True,
            timeout=self.busy_timeout_seconds,
            isolation_level=None,
            check_same_thread=False,  # one thread at a time, not always the same
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -16000")  # 16 MB at most: the pages that many series write to
        except sqlite3.Error:  # the file is looked at with the first statement only
            connection.close()
            raise
        return connection

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with self._translated(), closing(self._connect("rw")) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -64000")  # a sort of up to 64 MB stays in memory
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Trouble of SQLite and of the file system as the errors that the agent understands."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            remedy = _PERSON_MUST_ACT.get(code & 0xFF) if code is not None else None
            if remedy is not None:
                raise Misconfigured(f"{self.path}: {error}; {remedy}") from error
            raise Unavailable(f"{self.path}: {error}") from error
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            remedy = "its folder must be one that this user may write to"
            raise Misconfigured(f"{self.path}: {error.strerror}; {remedy}") from error
        except (OSError, MemoryError) as error:
            raise Unavailable(f"{self.path}: {error}") from error


def _make(path: Path) -> None:
    """An empty file, which SQLite takes for a new database: one that it makes itself, everybody may read. The files
    that it puts beside it have the same rights. What is there already keeps its own.
    """
    with suppress(OSError):  # SQLite says what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))


def spare_log(path: Path) -> None:
    """A new file beside the log of another would throw that log away, and with it records. Raises `Misconfigured`."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size and not (path.exists() and path.stat().st_size):
        raise Misconfigured(
            f"{log} holds records of a file that was moved away from {path}; move it after that file, under its name"
            " with -wal, or remove it when that file is gone for good"
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is there: device and number; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _use_wal(connection: sqlite3.Connection, patience_seconds: float) -> None:
    """Write-ahead logging, once for each file. SQLite does not wait for locks here, so we do.

    A file system that cannot share memory between processes leaves the file in its old mode, which `check` says.
    """
    if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        return
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
