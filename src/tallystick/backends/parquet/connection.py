"""DuckDB in memory, which writes and reads the files, and its troubles as the library's.

A forked child makes an instance of its own and leaves its parent's alone: closing that could wait for threads that the
child does not have.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from tallystick import plugins
from tallystick.backends._rows import COLUMNS
from tallystick.backends.parquet.query import patterns
from tallystick.errors import Misconfigured, SpoolError, Unavailable
from tallystick.processes import PerProcess

_SETTINGS: Final = {
    "autoinstall_known_extensions": "false",  # nothing is fetched from anywhere
    "autoload_known_extensions": "false",
}
_READ_JSON: Final = (
    "read_json(?, format = 'newline_delimited', maximum_object_size = {size:d}, columns = {{{columns}}})"
)
_COPY: Final = (
    "COPY (SELECT {columns} FROM {source}) TO {target} (FORMAT parquet, COMPRESSION {compression}, USE_TMP_FILE false)"
)


@cache
def driver() -> Any:
    """The module duckdb. Raises `MissingExtra`."""
    try:
        import duckdb
    except ImportError as error:
        raise plugins.missing_extra("parquet", error) from error
    return duckdb


class Engine:
    """`compression` is DuckDB's word for it."""

    def __init__(self, compression: str) -> None:
        self._compression = compression
        self._held: PerProcess[tuple[Any, str]] = PerProcess(_close)

    def cursor(self) -> Any:
        """A connection of its own to this process's instance: threads may not share one."""
        held = self._held.get()
        if held is None:
            spill = tempfile.mkdtemp(prefix="tallystick-duckdb-")  # of this user alone: recorded values go there
            held = self._held.put((driver().connect(":memory:", config={**_SETTINGS, "temp_directory": spill}), spill))
        return held[0].cursor()

    def copy(self, cursor: Any, source: str, parameters: list[Any], target: Path, columns: str = "*") -> int:
        """All columns of a source, to which conditions and an order may belong, become a file; how many rows it has."""
        quoted = "'" + str(target).replace("'", "''") + "'"
        sql = _COPY.format(source=source, target=quoted, compression=self._compression, columns=columns)
        return int(cursor.execute(sql, parameters).fetchone()[0])

    def copy_lines(
        self, cursor: Any, lines: Iterable[str], shared: Mapping[str, Any], aside: Path, target: Path
    ) -> None:
        """Rows as lines of JSON, and the cells that all of them share, become a file, by way of another: DuckDB's own
        reader is the quickest way into it that needs no second library."""
        data = "\n".join([*lines, ""]).encode()  # without a newline at the end, DuckDB fails beyond 16 MiB
        aside.write_bytes(data)
        of_each = ", ".join(f"{name}: '{type_}'" for name, type_ in COLUMNS.items() if name not in shared)
        source = _READ_JSON.format(size=len(data), columns=of_each)
        columns = ", ".join(
            f"CAST(? AS {type_}) AS {name}" if name in shared else name for name, type_ in COLUMNS.items()
        )
        cells = [shared[name] for name in COLUMNS if name in shared]
        self.copy(cursor, source, [*cells, patterns([aside])], target, columns)

    def close(self) -> None:
        self._held.close()


def _close(held: tuple[Any, str]) -> None:
    instance, spill = held
    instance.close()
    shutil.rmtree(spill, ignore_errors=True)


@contextmanager
def translated(root: Path) -> Iterator[None]:
    """Trouble of the disk and of DuckDB as the errors that the agent understands. Only what blames a record (a value
    that does not fit) goes on as it is: then the agent bisects the batch."""
    duckdb = driver()
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError, SpoolError) as error:
        raise Misconfigured(f"{root}: {error}; it must be a folder that this user may write to") from error
    except (OSError, MemoryError, duckdb.OutOfMemoryException) as error:
        raise Unavailable(f"{root}: {error}") from error
    except (duckdb.DataError, duckdb.InvalidInputException, duckdb.IntegrityError):
        raise
    except duckdb.IOException as error:
        if "Permission denied" in str(error) or "Read-only" in str(error):
            raise Misconfigured(f"{root}: {error}; this user must be able to write there") from error
        raise Unavailable(f"{root}: {error}") from error
    except duckdb.Error as error:
        raise Unavailable(f"{root}: {error}") from error
