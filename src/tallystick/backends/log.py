"""Records as lines of a log: one JSON object a line, through the `logging` module or into a file.

    {"time": "2025-06-15T12:00:00.000000000Z", "id": "0198f3…-412", "kind": "counter", "name": "user.signup",
     "value": 1, "tags": {"plan": "pro"}, "host": "web-1", "app": "shop", "pid": 4242}

A line that was written stays: a record sent again is a second line with the same `id`, and so is newer content of the
same own id. Whoever counts lines tells them apart by `id`. Unit, metadata and sample rate are there when given.
"""

from __future__ import annotations

import errno
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from tallystick.backends import shapes
from tallystick.backends._path import own_path
from tallystick.backends.base import ACCEPTED, WriteResult
from tallystick.backends.shapes import Documents
from tallystick.errors import Misconfigured, QueryError, SettingsError, Unavailable
from tallystick.masking import mask_url
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

LOGGER: Final = "tallystick.records"


class LogBackend:
    """`log://` writes to the logger `tallystick.records`, `log://other.name` to another, `log:///path` to a file.

    `shape` is the form of what is logged (`?shape=`, see `backends/shapes.py`), else JSON lines.

    A logger that nobody has configured would be silent at this level, so then `open` gives it the level INFO and,
    when no handler would see its lines, one that writes to standard error. A file is opened anew when logrotate has
    moved it away.
    """

    inline: ClassVar[bool] = True

    def __init__(self, logger: str = LOGGER, *, path: Path | str | None = None, shape: Documents | None = None) -> None:
        self.path = None if path is None else own_path(path)
        self._document = as_line if shape is None else shape.document
        self._suffix = shapes.suffix(shape)
        self._name = logger
        self._logger: logging.Logger | None = None
        self._file: _File | None = None

    @classmethod
    def from_url(cls, url: str) -> Self:
        parts = urlsplit(url)
        path = unquote(parts.path)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if options.keys() - {"shape"} or parts.fragment or (parts.netloc and path) or "@" in parts.netloc:
            raise SettingsError(
                f"backend: {mask_url(url)!r} has parts that a log lacks; write log://, log://a.logger or log:///path"
            )
        shape = shapes.built(options.get("shape"), "log", path)
        return cls(path=path, shape=shape) if path else cls(unquote(parts.netloc) or LOGGER, shape=shape)

    @property
    def address(self) -> str:
        return f"log://{self._name if self.path is None else self.path}{self._suffix}"

    def open(self) -> None:
        if self._logger is not None or self._file is not None:
            return
        if self.path is None:
            self._logger = _audible(logging.getLogger(self._name))
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _File(self.path)
        except PermissionError as error:
            raise Misconfigured(f"{self.path}: {error.strerror}; give this user the right to write there") from error
        except OSError as error:
            raise Unavailable(f"{self.path}: {error}") from error

    def write(self, batch: Batch) -> WriteResult:
        self.open()
        rejected = {}
        for index, record in enumerate(batch.records):
            try:
                line = self._document(record)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                rejected[index] = f"{type(error).__name__}: {error}"
                continue
            try:
                self._emit(line)
            except OSError as error:
                reason = f"{self.path}: {error}"
                return WriteResult(rejected, dict.fromkeys(range(index, len(batch)), reason))
        return WriteResult(rejected) if rejected else ACCEPTED

    def _emit(self, document: Any) -> None:
        """A text as it is; of another document the log's message is the document itself, and a file has its text."""
        if self._file is not None:
            self._file.emit(str(document))
        elif self._logger is not None:
            self._logger.info(*(("%s", document) if isinstance(document, str) else (document,)))

    def query(self, query: Query) -> list[Series]:
        raise QueryError(
            f"{self.address} cannot answer queries: a log is read with grep and jq; for answers, record to a database"
            " such as sqlite:///metrics.db"
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._logger = None


def as_line(record: Record) -> str:
    """A record as one line of JSON, without a newline. Raises for a value that JSON cannot say."""
    seconds, nanoseconds = divmod(record.timestamp_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    line: dict[str, Any] = {
        "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z",
        "id": record.id,
        "kind": record.kind,
        "name": record.name,
        "value": record.value,
    }
    more: dict[str, Any] = {
        "tags": list(record.words) or record.tags,
        "unit": record.unit,
        "metadata": record.metadata,
        "sample_rate": record.sample_rate if record.sample_rate != 1 else None,
        "host": record.host,
        "app": record.app,
        "pid": record.pid,
    }
    line.update((key, part) for key, part in more.items() if part)
    return msgspec.json.encode(line).decode()


class _File:
    """A file to append to: each line is one write to the system, so several processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._torn = False

    def emit(self, line: str) -> None:
        self._follow()
        whole = f"\n{line}\n".encode() if self._torn else f"{line}\n".encode()
        self._torn = True
        if self._file.write(whole) != len(whole):
            raise OSError(errno.ENOSPC, "No space left for the whole line")
        self._torn = False

    def _follow(self) -> None:
        """Open anew when somebody moved or removed the file."""
        try:
            there = os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            there = False
        if not there:
            self._file.close()
            self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()


def _audible(logger: logging.Logger) -> logging.Logger:
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        logger.addHandler(logging.StreamHandler())
    return logger
