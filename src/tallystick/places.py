"""The places where settings are looked for: environment, settings module, file; and what this machine gives by default.

Each place gives what it found as `Found` by setting name, without judging it: which names and values are right is
known in `settings.py`. Nothing here shows a value, which may be a secret.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from tallystick.errors import SettingsError

PREFIX: Final = "TALLYSTICK_"
_OTHERS: Final = ("TALLYSTICK_SETTINGS_MODULE", "TALLYSTICK_SERVICES", "TALLYSTICK_TEST_")
"""How the variables begin that are no settings: the search for settings and the project's tests are steered by them."""

MODULE_VARIABLE: Final = "TALLYSTICK_SETTINGS_MODULE"
FILE: Final = "tallystick.toml"


class Found(NamedTuple):
    """A value, the place for people, and the key as it stands there.

    `text` tells that a number or list may stand there as text; a relative path starts from `folder`.
    """

    value: Any
    place: str
    key: str
    text: bool = False
    folder: Path | None = None


def in_environment() -> dict[str, Found]:
    """Every `TALLYSTICK_*` variable that is not empty, by the rest of its name in lower case."""
    return {
        key.removeprefix(PREFIX).lower(): Found(value, f"environment {key}", key, text=True)
        for key, value in os.environ.items()
        if key.startswith(PREFIX) and value and not key.startswith(_OTHERS)
    }


def in_module() -> dict[str, Found]:
    """What the module named by `TALLYSTICK_SETTINGS_MODULE` holds: plain data, no functions, classes or modules.

    It is imported once a process, so a change to it is seen after a restart.
    """
    name = os.environ.get(MODULE_VARIABLE)
    if not name:
        return {}
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise SettingsError(
            f"{MODULE_VARIABLE}: cannot import {name!r} ({type(error).__name__}: {error});"
            " its folder must be on PYTHONPATH, and it must import without error"
        ) from error
    found = {}
    for upper in (False, True):  # the longer name is the more explicit one, so it comes last and wins
        for key, value in vars(module).items():
            if key.startswith("_") or callable(value) or isinstance(value, ModuleType):
                continue
            if key.startswith(PREFIX) if upper else key.islower():
                found[key.removeprefix(PREFIX).lower()] = Found(value, f"settings module {name}", key)
    return found


def in_file() -> dict[str, Found]:
    """The table of the nearest `tallystick.toml` or, where there is none, `[tool.tallystick]` of `pyproject.toml`.

    A working directory that was deleted, or that this user may not look into, has none.
    """
    try:
        here = Path.cwd()
    except OSError:
        return {}
    for folder in _project_folders(here):
        for path in (folder / FILE, folder / "pyproject.toml"):
            if os.path.isfile(path) and (table := _table(path)) is not None:
                place = f"file {os.fsencode(path).decode('utf-8', 'replace')}"
                return {key: Found(value, place, key, folder=folder) for key, value in table.items()}
    return {}


def _project_folders(start: Path) -> Iterator[Path]:
    """The folder and its parents up to the project's root; the folder alone when there is no project around it."""
    folders = [start, *start.parents]
    for marker in (".git", "pyproject.toml"):
        for index, folder in enumerate(folders):
            if os.path.exists(folder / marker):
                yield from folders[: index + 1]
                return
    yield start


def _table(path: Path) -> dict[str, Any] | None:
    """The settings in a file. Somebody else's `pyproject.toml` that cannot be read has none; ours is an error."""
    own = path.name == FILE
    try:
        raw = path.read_bytes()
    except OSError as error:
        if not own:
            return None
        raise SettingsError(f"cannot read {path}: {error.strerror}; make it readable for this user") from None
    if not own and b"tallystick" not in raw:
        return None  # most projects' file: not worth the parser
    import tomllib

    try:
        table = tomllib.loads(raw.decode("utf-8-sig"))
    except ValueError as error:
        if not own and not re.search(rb"tool\s*\.\s*[\"']?tallystick", raw):
            return None
        raise SettingsError(f"{path} is not TOML: {error}; correct it there") from None
    if own:
        return table
    tools = table.get("tool")
    part = tools.get("tallystick") if isinstance(tools, dict) else None
    if part is not None and not isinstance(part, dict):
        raise SettingsError(f"{path}: tool.tallystick must be a table, [tool.tallystick]")
    return part


def default_home() -> Path:
    """The platform's folder for a program's state, of this user; it begins with `~` where the user has no home."""
    if sys.platform == "win32":
        folder = os.path.join(os.environ.get("LOCALAPPDATA") or "~", "tallystick")
    elif sys.platform == "darwin":
        folder = "~/Library/Application Support/tallystick"
    else:
        state = os.environ.get("XDG_STATE_HOME") or ""
        folder = os.path.join(state if os.path.isabs(state) else "~/.local/state", "tallystick")
    return Path(os.path.expanduser(folder))


def known_home(home: Path | str) -> Path:
    """The home as a path, asked for when something is to be kept there. Raises `SettingsError` without one."""
    folder = Path(os.path.expanduser(home))
    if str(folder).startswith("~"):
        raise SettingsError(
            f"home: {str(folder)!r} is not known, for this user has no home directory (HOME is not set, and there is no"
            " entry in the passwd file); set TALLYSTICK_HOME to a folder that this user may write to"
        )
    return folder


def default_app() -> str:
    """The running script's name without `.py`, its package's when run by `python -m`; empty when there is none."""
    script = Path(sys.argv[0] if sys.argv and sys.argv[0] not in {"-c", "-"} else "")
    name = script.parent.name if script.name == "__main__.py" else script.name.removesuffix(".py")
    return name.encode("utf-8", "replace").decode()[:255]


def default_host() -> str:
    import socket

    return socket.gethostname().encode("utf-8", "replace").decode()[:255]
