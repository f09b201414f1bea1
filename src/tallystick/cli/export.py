"""`tallystick export`: records as CSV, JSON lines or Parquet.

They are written as they are read, so memory does not grow with their number.

A file appears under its name when it is complete, so a half-written one is never taken for the whole. It appears also
when there is no record to write: whoever reads it next finds it. Whether it can be written is known before anything is
read. A device or a pipe is not replaced by a file: it takes what is written, as it comes.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Literal

import click
import msgspec

from tallystick.cli.app import Failure
from tallystick.cli.options import filter_options, where_options
from tallystick.cli.output import data_out, note
from tallystick.cli.tail import document, readable
from tallystick.pipelines.asking import NothingYet, open_to_read, used
from tallystick.pipelines.summaries import Filters
from tallystick.pipelines.targets import Where, asked_target
from tallystick.plugins import missing_extra
from tallystick.records import Record
from tallystick.spool.disk import NO_ROOM
from tallystick.text import number

Format = Literal["csv", "jsonl", "parquet"]

COLUMNS: Final = {
    "id": "VARCHAR",
    "time": "TIMESTAMP_NS",
    "timestamp_ns": "BIGINT",
    "kind": "VARCHAR",
    "name": "VARCHAR",
    "number": "DOUBLE",
    "value": "JSON",
    "unit": "VARCHAR",
    "tags": "JSON",
    "words": "JSON",
    "metadata": "JSON",
    "sample_rate": "DOUBLE",
    "host": "VARCHAR",
    "app": "VARCHAR",
    "pid": "BIGINT",
}
"""Of CSV and Parquet. `number` is the value when it is a number, for summing; `value` is any value, as JSON."""

_RUN: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER: Final = r"-\d+(\.\d+)?([eE][+-]?\d+)?"
_JSON: Final = ("value", "tags", "words", "metadata")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--format", "form", type=click.Choice(("csv", "jsonl", "parquet")), help="[default: csv]")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file. [default: standard output]"
)
@click.option(
    "--guard/--no-guard",
    "guarded",
    default=True,
    help="In CSV, an apostrophe before each text that a spreadsheet would run as a formula. [default: guard]",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl.")
@filter_options
@where_options
def export(
    where: Where,
    filters: Filters,
    names: tuple[str, ...],
    form: Format | None,
    output: Path | None,
    guarded: bool,
    as_json: bool,
) -> None:
    """Write the records of NAME (a pattern with * and ? too; without one, all), oldest first.

    CSV has one line a record, with tags and values as JSON; JSON lines have one object a record; Parquet needs
    duckdb and an --output.

    Without a record, also before the first delivery, CSV is its header, JSON lines are empty, and Parquet has no row.
    """
    if output is not None and not output.name:
        raise click.UsageError("--output: '' is no file; give its path, or leave it out for standard output")
    if as_json and form not in (None, "jsonl"):
        raise click.UsageError(f"--json is --format jsonl; leave it out, or --format {form}")
    form = form or ("jsonl" if as_json else "csv")
    aim = None if output is None or _is_stdout(output) else output
    if form == "parquet":
        if aim is None:
            raise click.UsageError("Parquet cannot go to standard output; give --output FILE")
        _duckdb()  # before anything is read
    with _aside(aim) if aim else contextlib.nullcontext() as aside, _asked(where, filters, names) as records:
        written = (
            _to_parquet(records, aside)
            if form == "parquet" and aside
            else _to_text(records, form, aside, guarded=guarded)
        )
    note(f"{number(written)} record{'s' * (written != 1)}" + (f" in {output}" if output else ""))


@contextlib.contextmanager
def _asked(where: Where, filters: Filters, names: tuple[str, ...]) -> Iterator[Iterable[Record]]:
    backend, target = None, asked_target(where)
    try:
        backend = open_to_read(target)
    except NothingYet as nothing:
        note(str(nothing))
    if backend is None:
        yield ()
        return
    with used(backend, target.url):
        yield readable(backend).records(filters.query(names))


def _to_text(records: Iterable[Record], form: Format, aside: Path | None, *, guarded: bool) -> int:
    write = functools.partial(_as_csv, guarded=guarded) if form == "csv" else _as_json_lines
    if aside is None:
        out = data_out()
        count = write(records, out)
        out.flush()
        return count
    with aside.open("w", encoding="utf-8", newline="") as file:
        return write(records, file)


def _as_csv(records: Iterable[Record], file: IO[str], *, guarded: bool) -> int:
    writer = csv.writer(file, lineterminator="\n")
    quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    count = 0
    for count, record in enumerate(records, 1):  # noqa: B007
        row = [_cell(one) if column in _JSON else one for column, one in _columns(record).items()]
        if guarded:
            row = [_harmless(one) if isinstance(one, str) else one for one in row]
        # Python before 3.13 does not quote a carriage return by itself, which ends the row for many readers.
        (quoting if any("\r" in one for one in row if isinstance(one, str)) else writer).writerow(row)
    return count


def _harmless(cell: str) -> str:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it; a negative number does not."""
    return f"'{cell}" if cell.startswith(_RUN) and not re.fullmatch(_NUMBER, cell) else cell


def _as_json_lines(records: Iterable[Record], file: IO[str]) -> int:
    count = 0
    for record in records:
        file.write(msgspec.json.encode(document(record)).decode() + "\n")
        count += 1
    return count


def _columns(record: Record) -> dict[str, Any]:
    known = document(record)
    value = record.value
    known["number"] = float(value) if isinstance(value, int | float) else None
    return {column: known[column] for column in COLUMNS}


def _cell(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _to_parquet(records: Iterable[Record], aside: Path) -> int:
    """By way of a file of JSON lines beside the output, which duckdb turns into Parquet piece by piece."""
    duckdb = _duckdb()
    count = 0
    with tempfile.NamedTemporaryFile(dir=aside.parent, suffix=".jsonl") as lines:
        for record in records:
            lines.write(msgspec.json.encode(_columns(record)) + b"\n")
            count += 1
        lines.flush()
        columns = ", ".join(f"'{name}': '{type_}'" for name, type_ in COLUMNS.items())
        with duckdb.connect() as connection:
            connection.execute(f"""COPY (
                SELECT * FROM read_json(
                    {_quoted(lines.name)}, format = 'newline_delimited', columns = {{{columns}}},
                    maximum_object_size = {1 << 26}
                )
            ) TO {_quoted(str(aside))} (FORMAT parquet, COMPRESSION zstd)""")  # noqa: S608 - our own two paths, quoted
    return count


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise missing_extra("parquet", error) from error
    return duckdb


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _is_stdout(output: Path) -> bool:
    """Whether it is /dev/stdout, or a name of what standard output goes to; a pipe or a socket has no other."""
    try:
        return os.path.samestat(output.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, AttributeError):
        return False


@contextlib.contextmanager
def _aside(output: Path) -> Iterator[Path]:
    """A place beside the output, which becomes the output when all went well, else is removed."""
    whole = Path(os.path.realpath(output))  # a link stays one
    if output.exists() and not output.is_file():
        with _room_in(output):
            yield output
        return
    aside = whole.with_name(f".{whole.name}.{os.getpid()}.part")
    try:
        aside.touch()
    except OSError as error:
        remedy = "its folder must be there, and be one that this user may write to"
        raise Failure(f"--output: cannot write {output}: {error.strerror}; {remedy}") from error
    try:
        with _room_in(output):
            yield aside
        aside.replace(whole)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def _room_in(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        remedy = "make room there, or name another file"
        raise Failure(f"--output: cannot write {output}: {error.strerror}; {remedy}") from error
