"""How commands print: JSON for programs; tables, colours and progress for people in front of a terminal.

Colour and progress only where standard output is a terminal, and no colour with `NO_COLOR` (https://no-color.org).
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final, Literal

import click
import msgspec
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from tallystick.cli.app import AskedWrong
from tallystick.text import clean

WIDE: Final = 1_000
"""Columns when nobody looks: what is piped is not to be folded."""


class _Piped(Console):
    """Rich ends the process with 1 when nobody reads any more; to us that is no failure (see app.py)."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "nobody reads it")


def console() -> Console:
    """Where tables go. Texts are shown as they are, without markup or guessed colours."""
    width = None if sys.stdout.isatty() else WIDE
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    return _Piped(
        file=sys.stdout, width=width, color_system=colours, markup=False, highlight=False, emoji=False, soft_wrap=False
    )


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", numbers: Iterable[str] = ()
) -> Table:
    """A table of texts; the columns named in `numbers` are to the right."""
    made = Table(
        title=clean(title) or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    made.show_edge = made.pad_edge = False
    right = set(numbers)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(clean(cell) for cell in row))
    return made


def show(*things: RenderableType) -> None:
    """One after the other, an empty line between them."""
    out = console()
    for index, thing in enumerate(things):
        if index:
            out.print()
        out.print(thing)


def data_out() -> IO[str]:
    """Standard output for data: UTF-8, whatever the terminal's encoding is, which is for people's texts only."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8", errors="strict", newline="")
    return out


def json_document(document: Any) -> None:
    """One JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), file=data_out())


def json_line(document: Any) -> None:
    """One line of JSON, out at once."""
    click.echo(msgspec.json.encode(document).decode(), file=data_out())


def note(text: str) -> None:
    """For people, beside the answer: on standard error."""
    click.echo(text, err=True)


def agreed(question: str) -> None:
    """Ask it. Raises `AskedWrong` when nobody is there to answer, `click.Abort` when the answer is no."""
    if sys.stdin is not None and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
        return
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer:
        raise AskedWrong(f"{question} nobody is there to answer; give --yes")
    note(question)
    if answer.strip().lower() not in ("y", "yes"):
        raise click.Abort


def fact(label: str, text: str, *, bad: bool = False) -> None:
    """A line of a report: a label and what is said of it."""
    said = click.style(clean(text), fg="red") if bad else clean(text)
    click.echo(f"  {click.style(f'{label:<9}', dim=True)} {said}")
