"""Which pipelines there are, and which backend belongs to each.

A pipeline's target is the one in its description; it was written when the pipeline was first used, and neither
settings nor options change it (see description.py). What they may add is the way there: `--backend` with `--pipeline`,
or the settings' backend, for a target whose URL was not written down, since it holds a secret, or an option that is
meant for this process alone. A pipeline without a description is the SQLite file in its folder, when that is there or
the settings say nothing else.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import msgspec

from tallystick.errors import SettingsError, SpoolError, TallystickError
from tallystick.masking import MASK, mask_url
from tallystick.pipelines import description
from tallystick.pipelines.naming import DEFAULT, own_file, pipeline_for, pipeline_of
from tallystick.plugins import backend_from_url, is_channel, target_from_url
from tallystick.settings import Settings, load_settings
from tallystick.spool.folder import Folder, pipelines

if TYPE_CHECKING:
    from tallystick.backends.base import Backend

_GONE: Final = "memory:// is gone with each process; set backend to a database"


class Where(msgspec.Struct, frozen=True):
    """`--home`, `--pipeline` and `--backend` as given; None where they were not."""

    home: str | None = None
    pipeline: str | None = None
    backend: str | None = None

    def settings(self) -> Settings:
        """The settings in force, with all three options as arguments."""
        return load_settings(home=self.home, pipeline=self.pipeline, backend=self.backend)


class Target(msgspec.Struct, frozen=True):
    """Where a pipeline's records go. `unknown` says why it cannot be told from here, else it is empty; `given` is what
    only `--backend` says.
    """

    folder: Folder
    url: str | None
    address: str
    unknown: str = ""
    given: bool = False

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def forwards(self) -> bool:
        """Whether the records go into a channel, for an agent elsewhere to deliver."""
        return self.url is not None and is_channel(self.url)

    @property
    def setup(self) -> str:
        """The command that sets its database up, or prints what an administrator has to run."""
        named = f" --pipeline {self.name}" if self.folder.path.exists() else ""
        return f"tallystick setup{named}{' --backend URL' if self.given or self.unknown else ''}"

    @property
    def agent(self) -> str:
        """The command that delivers it."""
        return f"tallystick agent{f' --pipeline {self.name} --backend URL' if self.given or self.unknown else ''}"

    def backend(self) -> Backend:
        """A new backend, not yet opened. Raises `SettingsError` when the target is unknown."""
        if self.unknown:
            raise SettingsError(f"pipeline {self.name}: {self.unknown}")
        if self.url is None:
            from tallystick.backends.sqlite.backend import SqliteBackend

            return SqliteBackend(self.folder.database)
        found: Backend = target_from_url(self.url)
        return found


def targets(where: Where, own: Settings | None = None, *, broken: bool = False) -> list[Target]:
    """Of every pipeline in the home, or of the one that was named. Raises `SettingsError` when that is not there, and
    for `--backend` without `--pipeline`: it says nothing of which records are to go there.

    The settings' pipeline, or the one that was named, may be a file: that is a `SpoolError`, or with `broken` one of
    the targets.
    """
    own = own or load_settings(home=where.home)
    found = pipelines(own.home)
    if where.backend is not None and where.pipeline is None:
        raise SettingsError(
            f"--backend {mask_url(where.backend)} needs --pipeline NAME here, which says whose database it is"
            f"{_choice(found)}"
        )
    if why := no_folder(odd := Folder(own.home, where.pipeline or own.pipeline)):
        if not broken:
            raise SpoolError(why)
        found = sorted([*found, odd], key=lambda folder: folder.name)
    if where.pipeline is not None:
        folder = Folder(own.home, where.pipeline)
        if folder.name not in {one.name for one in found}:
            raise SettingsError(f"pipeline: there is no {where.pipeline!r} in {own.home}{_choice(found)}")
        found = [folder]
    return [target_of(folder, own, where.backend) for folder in found]


def no_folder(folder: Folder) -> str:
    """Why this can be no pipeline, and the remedy; empty when it is one, or may become one."""
    if os.path.isdir(folder.path) or not os.path.lexists(folder.path):
        return ""
    return f"{folder.path} is no folder; move it away: the pipeline's folder is made at the next record"


def chosen_pipeline(where: Where, own: Settings) -> str:
    """The pipeline that `Metrics(…)` would record into when given the same."""
    if where.pipeline is not None:
        return where.pipeline
    url = (own.channel_url or own.backend_url) if where.backend is None else where.backend
    return pipeline_of(own, None if url is None else target_from_url(url).address)


def target_of(folder: Folder, own: Settings, given: str | None = None) -> Target:
    """The target of one pipeline. `given` is the URL that `--backend` or the application names for it; raises
    `SettingsError` when that leads elsewhere.
    """
    file = own_file(folder)
    if given is not None:
        address = _address(given)
        description.refuse(folder, address, file)
        return Target(folder, given, address, _GONE if given.startswith("memory:") else "", given=True)
    about = description.read(folder)
    if about.by == "folder" or about.backend == file:  # of a folder that was moved, the address is the old one
        return Target(folder, None, file)
    if not about.backend:
        return _undescribed(folder, own, file)
    for url in filter(None, (own.channel_url, own.backend_url)):  # the settings know the password
        if _address(url) == about.backend:
            return Target(folder, url, about.backend)
    if about.by != "url":
        remedy = f"`tallystick pipeline move {folder.name} URL` sends its records elsewhere"
        return _unknown(folder, about.backend, f"its application delivers to a backend object of its own; {remedy}")
    url = about.url or about.backend
    if MASK in url:
        remedy = f"set TALLYSTICK_BACKEND to all of it, or give --pipeline {folder.name} --backend URL"
        return _unknown(folder, about.backend, f"the secret of {url} is written nowhere; {remedy}")
    return Target(folder, about.backend if _is_elsewhere(url, about.backend) else url, about.backend)


def _undescribed(folder: Folder, own: Settings, file: str) -> Target:
    """Nothing was recorded yet, or the description is lost or garbled."""
    if own.backend_url is not None and folder.name == chosen_pipeline(Where(), own):
        gone = _GONE if own.backend_url.startswith("memory:") else ""
        return Target(folder, own.backend_url, _address(own.backend_url), gone)
    if folder.name in (DEFAULT, own.pipeline) or folder.database.exists():
        return Target(folder, None, file)
    remedy = f"give --pipeline {folder.name} --backend URL"
    return _unknown(folder, "unknown", f"{folder.about} does not say where the records go; {remedy}")


def _unknown(folder: Folder, address: str, why: str) -> Target:
    return Target(folder, None, address, why)


def _is_elsewhere(url: str, address: str) -> bool:
    """Whether the URL means another place from here: it was relative to the application's working directory."""
    try:
        return bool(target_from_url(url).address != address)
    except TallystickError:  # said to whoever opens it
        return False


def _address(url: str) -> str:
    try:
        return str(target_from_url(url).address)
    except TallystickError:
        return mask_url(url)


def asked_target(where: Where) -> Target:
    """The pipeline that a question is for: the chosen one; without one, the only one there is.

    Raises `SettingsError` when it cannot be told, `SpoolError` when the database would be in a folder that is a file.
    """
    found = _asked(where)
    if found.url is None and (why := no_folder(found.folder)):
        raise SpoolError(why)
    return found


def _asked(where: Where) -> Target:
    own = load_settings(home=where.home)
    if where.backend is not None:
        if where.pipeline is not None:
            return target_of(Folder(own.home, where.pipeline), own, where.backend)
        return _of_database(own, where.backend)
    if own.backend_url is not None and where.pipeline is None and own.source("pipeline") == "default":
        return msgspec.structs.replace(_of_database(own, own.backend_url), given=False)
    chosen = chosen_pipeline(where, own)
    found = pipelines(own.home)
    if no_folder(odd := Folder(own.home, chosen)):
        return target_of(odd, own)
    if where.pipeline is not None and chosen not in {one.name for one in found}:
        raise SettingsError(f"pipeline: there is no {where.pipeline!r} in {own.home}{_choice(found)}")
    if chosen in {one.name for one in found} or not found or own.backend_url is not None:
        return target_of(Folder(own.home, chosen), own)
    if len(found) > 1:
        raise SettingsError(f"there are several pipelines in {own.home}; name one with --pipeline{_choice(found)}")
    return target_of(found[0], own)


def _of_database(own: Settings, url: str) -> Target:
    """The database at this URL, whatever pipeline records into it; a question makes no pipeline and refuses none."""
    address = str(backend_from_url(url).address)
    name = pipeline_for(own.home, address)
    with contextlib.suppress(SpoolError):  # a host that only asks needs no home
        same = [one.name for one in pipelines(own.home) if target_of(one, own).address == address]
        name = name if name in same or len(same) != 1 else same[0]
    return Target(Folder(own.home, name), url, address, _GONE if url.startswith("memory:") else "", given=True)


def _choice(found: list[Folder]) -> str:
    return f" (there are: {', '.join(folder.name for folder in found)})" if found else " (it has no pipeline yet)"
