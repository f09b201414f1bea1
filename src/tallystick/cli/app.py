"""The root of the command line: which commands there are, and how an error ends.

Invariants
- A command's module is imported only when that command runs (or its help is asked for), so `tallystick --help` loads
  neither backends nor rich. The sentences in the list of commands therefore stand here, in one table.
- Exit codes: 0 all is well, 1 something failed or was found, 2 the command line or the settings are wrong.
- What goes wrong on purpose (`TallystickError`, `OSError`) is one line on standard error, never a traceback; a
  script that is the remedy follows on lines of its own, to be copied.
- Arguments are UTF-8, as all texts of a record are: other bytes are refused before any command sees them.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from typing import Any, Final

import click

from tallystick.errors import QueryError, RecordError, SettingsError, TallystickError
from tallystick.masking import hider
from tallystick.text import told
from tallystick.version import __version__

COMMANDS: Final = {
    "Start": {
        "demo": ("demo.command", "Record real input for half a minute and show what came of it."),
        "doctor": ("doctor", "Say what is wrong here, and the remedy."),
        "config": ("config", "The settings in force, and where each comes from."),
        "completion": ("completion", "Print what completes commands in bash, zsh or fish."),
    },
    "Look": {
        "status": ("status", "Every pipeline: its target, its books, and who delivers."),
        "query": ("query", "Ask what was recorded under a name."),
        "top": ("top", "Watch all metrics live."),
        "tail": ("tail", "Print records as they arrive."),
        "export": ("export", "Write records as CSV, JSON lines or Parquet."),
    },
    "Record and deliver": {
        "send": ("send", "Record from a shell."),
        "agent": ("agent", "Deliver from this host's spools, until stopped."),
        "pipeline": ("pipeline", "Pipelines: list or show them, or move one to another database."),
        "dead": ("dead", "Dead letters: list, show, retry or drop them."),
        "spool": ("spool", "Spool files: list, check, dump or repair them."),
    },
    "Look after the database": {
        "setup": ("managed", "Make or upgrade what the records need in the database."),
        "check": ("managed", "Say whether the database is as it should be."),
        "indices": ("managed", "List what holds the records, and how large it is."),
        "prune": ("managed", "Forget old records."),
        "types": ("types", "List the types of records that were declared, and their fields."),
        "copy": ("copy", "Copy records from one database to another, with their ids."),
    },
}
"""By section: command → module in this folder, and the sentence for the list."""

_MODULES: Final = {name: where[0] for commands in COMMANDS.values() for name, where in commands.items()}


class Failure(click.ClickException):
    """One line for people; exit code 1."""

    def show(self, file: Any = None) -> None:
        click.echo(f"tallystick: {self.message}", file=file or sys.stderr)


class AskedWrong(Failure):
    """The command line, a setting or a question is wrong."""

    exit_code = 2


class Group(click.Group):
    """Says which command was perhaps meant when there is none of that name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"no such command: {name}{meant(name, known)}")
        return super().resolve_command(ctx, args)


def meant(word: str, known: Iterable[str]) -> str:
    """A question to be added, when something known is nearly so; else nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


@contextlib.contextmanager
def _usage_in_one_line() -> Iterator[None]:
    """What click says of a wrong command line takes five."""
    try:
        yield
    except _HELP:
        raise
    except click.UsageError as error:
        said = " ".join(error.format_message().split()).rstrip(".")
        command = error.ctx.command_path if error.ctx else "tallystick"
        raise AskedWrong(f"{said}; see `{command} --help`") from error


_HELP: Final = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""With nothing asked, click since 8.2 shows the help by an error, before that without."""


class Commands(Group):
    """Finds a command in the module that the table names, when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        found = getattr(importlib.import_module(f"tallystick.cli.{_MODULES[cmd_name]}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl([(name, sentence) for name, (_, sentence) in commands.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            if argument.encode("utf-8", "replace").decode() != argument:
                raise AskedWrong(f"the argument {argument!r} is not UTF-8; give all arguments in UTF-8")
        with _to_its_end(), _usage_in_one_line():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _to_its_end():
            try:
                with _usage_in_one_line():
                    return super().invoke(ctx)
            except TallystickError as error:
                failure = AskedWrong if isinstance(error, SettingsError | QueryError | RecordError) else Failure
                raise failure(_said(error)) from error


@contextlib.contextmanager
def _to_its_end() -> Iterator[None]:
    """What was printed is out when it ends well; when it cannot be, that is said."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        with contextlib.suppress(OSError):
            sys.stdout.close()
        raise SystemExit(0) from None
    except OSError as error:
        if _of_stdout(error):
            with contextlib.suppress(OSError):
                sys.stdout.close()  # or Python tries again at its end
            remedy = "make room there, or send it elsewhere"
            raise Failure(f"cannot write to standard output: {error.strerror}; {remedy}") from error
        if error.filename is not None and error.strerror:
            raise Failure(f"{hider()(told(str(error.filename)))}: {error.strerror}; {_remedy(error)}") from error
        raise Failure(_said(error)) from error


def _of_stdout(error: OSError) -> bool:
    """Whether what prints raised it: such an error names no file, as those of the spool's files may not either."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    printing = str(frame.f_globals.get("__name__", "")).startswith(("click", "rich", "tallystick.cli"))
    return error.filename is None and error.errno is not None and printing


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "run as the user who owns it, or name another place (home: TALLYSTICK_HOME) that this user may write to"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room there"
    return "`tallystick doctor` says more"


def _said(error: Exception) -> str:
    return hider()(told(str(error))) or type(error).__name__


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Every command has --help. Settings: `tallystick config show`.",
)
@click.version_option(__version__, prog_name="tallystick", message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """Record what an application does and keep it: every record once, in a database that you own."""
    logging.getLogger("tallystick").addHandler(logging.NullHandler())  # `agent` adds one that speaks
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """The command `tallystick`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character gets a question mark
    app(prog_name="tallystick")
