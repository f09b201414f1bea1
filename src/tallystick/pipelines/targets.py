"""Which pipelines there are, and which backend belongs to each.

A pipeline's target is, in this order:
1. `--backend`, for the pipeline that `--pipeline` names; without it for the one that `Metrics(URL)` would record into
   and for every one that records into that same database anyway. When there is none, that is an error: neither
   are records to go to another database than the one given, nor another pipeline's to this one;
2. the settings' backend, for the settings' own pipeline, when one is set;
3. the URL in its `pipeline.json`, as the application that records into it has left it. Not when the application was
   given a backend object, nor when a secret stood in the URL: that is written nowhere;
4. the SQLite file in its folder, when the settings' own pipeline says nothing else.

What a driver raises, here or while a command works with the backend (`used`), is told as any failure is: in one line,
with no secret of the URL. What our own code raises by mistake stays what it is, a traceback.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tallystick.backends.base import Backend
from tallystick.backends.parquet.backend import ParquetBackend
from tallystick.backends.sqlite.backend import SqliteBackend, spare_log
from tallystick.errors import BackendError, SettingsError, SpoolError, TallystickError
from tallystick.masking import MASK, hider, mask_url
from tallystick.pipelines.route import pipeline_of
from tallystick.plugins import backend_from_url
from tallystick.settings import Settings, load_settings
from tallystick.spool.folder import Folder, pipelines

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
            return SqliteBackend(self.folder.database)
        found: Backend = backend_from_url(self.url)
        return found


def targets(where: Where, own: Settings | None = None, *, fit: bool = True, broken: bool = False) -> list[Target]:
    """Of every pipeline in the home, or of the one that was named. Raises `SettingsError` when that is not there, and,
    where it is to `fit`, when `--backend` is for none of those that are.

    The settings' pipeline, or the one that was named, may be a file: that is a `SpoolError`, or with `broken` one of
    the targets.
    """
    own = own or load_settings(home=where.home)
    found = pipelines(own.home)
    if why := no_folder(odd := Folder(own.home, where.pipeline or own.pipeline)):
        if not broken:
            raise SpoolError(why)
        found = sorted([*found, odd], key=lambda folder: folder.name)
    if where.pipeline is not None:
        folder = Folder(own.home, where.pipeline)
        if folder.name not in {one.name for one in found}:
            raise SettingsError(f"pipeline: there is no {where.pipeline!r} in {own.home}{_choice(found)}")
        found = [folder]
    meant = _meant(where, own, found)
    if fit and where.backend is not None and found and not meant:
        raise SettingsError(
            f"--backend {mask_url(where.backend)} is for no pipeline in {own.home}: none records there; name the one"
            f" that is to be delivered there: --pipeline NAME --backend URL{_choice(found)}"
        )
    return [target_of(folder, own, where.backend if folder.name in meant else None) for folder in found]


def no_folder(folder: Folder) -> str:
    """Why this can be no pipeline, and the remedy; empty when it is one, or may become one."""
    if os.path.isdir(folder.path) or not os.path.lexists(folder.path):
        return ""
    return f"{folder.path} is no folder; move it away: the pipeline's folder is made at the next record"


def _meant(where: Where, own: Settings, found: list[Folder]) -> set[str]:
    """The pipelines among these that `--backend` is for."""
    if where.backend is None:
        return set()
    if where.pipeline is not None:
        return {where.pipeline}
    chosen, address = chosen_pipeline(where, own), backend_from_url(where.backend).address
    return {one.name for one in found if one.name == chosen or target_of(one, own).address == address}


def chosen_pipeline(where: Where, own: Settings) -> str:
    """The pipeline that `Metrics(…)` would record into when given the same."""
    if where.pipeline is not None:
        return where.pipeline
    if where.backend is not None and own.source("pipeline") == "default":
        return pipeline_of(backend_from_url(where.backend))
    return own.pipeline


def target_of(folder: Folder, own: Settings, given: str | None = None) -> Target:
    """The target of one pipeline; `given` is `--backend` when it is meant for this one."""
    url = own.backend if given is None and folder.name == own.pipeline else given
    if url is not None:
        return Target(folder, url, _address(url), _GONE if url.startswith("memory:") else "", given is not None)
    own_file = SqliteBackend(folder.database).address
    about = folder.description()
    address = _text(about, "backend")
    if not address:
        if folder.name == own.pipeline or folder.database.exists():
            return Target(folder, None, own_file)
        remedy = f"give --pipeline {folder.name} --backend URL"
        return Target(folder, None, "unknown", f"{folder.about} does not say where the records go; {remedy}")
    if address == own_file or about.get("by") == "folder":  # of a folder that was moved, the address is the old one
        return Target(folder, None, own_file)
    if own.backend is not None and _address(own.backend) == address:
        return Target(folder, own.backend, address)
    if about.get("by") != "url":
        remedy = f"to deliver from here, give --pipeline {folder.name} --backend URL"
        return Target(folder, None, address, f"its application delivers to a backend object of its own; {remedy}")
    url = _text(about, "url") or address
    if MASK in url:
        named = "" if folder.name == own.pipeline else f"TALLYSTICK_PIPELINE to {folder.name} and "
        remedy = f"set {named}TALLYSTICK_BACKEND to all of it, or give --pipeline {folder.name} --backend URL"
        return Target(folder, None, address, f"the secret of {url} is written nowhere; {remedy}")
    return Target(folder, address if _is_elsewhere(url, address) else url, address)


def _is_elsewhere(url: str, address: str) -> bool:
    """Whether the URL means another place from here: it was relative to the application's working directory."""
    try:
        return bool(backend_from_url(url).address != address)
    except TallystickError:  # said to whoever opens it
        return False


def _text(about: dict[str, Any], key: str) -> str:
    found = about.get(key)
    return found if isinstance(found, str) else ""


def _address(url: str) -> str:
    try:
        return str(backend_from_url(url).address)
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
    chosen = chosen_pipeline(where, own)
    if where.backend is not None or (own.backend is not None and where.pipeline is None):
        with contextlib.suppress(SpoolError):  # a host that only asks needs no home
            meant = _meant(where, own, pipelines(own.home))
            chosen = meant.pop() if len(meant) == 1 else chosen
        return target_of(Folder(own.home, chosen), own, where.backend)
    found = pipelines(own.home)
    if no_folder(odd := Folder(own.home, chosen)):
        return target_of(odd, own)
    if where.pipeline is not None and chosen not in {one.name for one in found}:
        raise SettingsError(f"pipeline: there is no {where.pipeline!r} in {own.home}{_choice(found)}")
    if chosen in {one.name for one in found} or not found:
        return target_of(Folder(own.home, chosen), own)
    if len(found) > 1:
        raise SettingsError(f"there are several pipelines in {own.home}; name one with --pipeline{_choice(found)}")
    return target_of(found[0], own)


def _choice(found: list[Folder]) -> str:
    return f" (there are: {', '.join(folder.name for folder in found)})" if found else " (it has no pipeline yet)"


class NothingYet(TallystickError):
    """The database was not made yet, so nothing was delivered to it."""


class NotThere(TallystickError):
    """A database that was named is not there; no pipeline records into it, so none is about to be made."""


def open_to_read(target: Target, *, ours: bool = True) -> Backend:
    """The target's backend, open. Raises as `backend_there`.

    Not `ours` is what others wrote: nothing is made in their database, so it opens with the question.
    """
    backend = backend_there(target)
    if ours:
        opened(backend, target.url)
    return backend


def backend_there(target: Target) -> Backend:
    """The target's backend, not opened. Raises `NothingYet` rather than to let a file or folder be made by asking;
    `NotThere` when `--backend` names one that its pipeline does not record into.
    """
    backend = target.backend()
    try:
        there(backend, "--backend")
    except NotThere as error:
        own = target_of(target.folder, load_settings(home=str(target.folder.home)))
        if target.given and own.address != target.address:
            raise
        what = f"nothing was delivered to {target.address} yet; `tallystick status` says what is on its way"
        raise NothingYet(what) from error
    return backend


def there(backend: Backend, named: str) -> None:
    """Raises `NotThere` for a file or folder that opening would make; `named` is the argument that names it."""
    if isinstance(backend, SqliteBackend | ParquetBackend) and not backend.path.exists():
        if isinstance(backend, SqliteBackend):
            spare_log(backend.path)
        remedy = "give the path of a database that is there (`tallystick status` shows those of the pipelines)"
        raise NotThere(f"{named}: there is no {backend.path}; {remedy}")


def opened(backend: Backend, url: str | None) -> None:
    """Open it. What a driver raises, and not we, becomes a `BackendError` that shows no secret of the URL."""
    try:
        backend.open()
    except TallystickError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not _of_a_driver(error):
            raise
        why = hider(url)(f"{type(error).__name__}: {error}")
        raise BackendError(f"{backend.address} cannot be opened: {why}") from error


@contextlib.contextmanager
def used(backend: Backend, url: str | None) -> Iterator[None]:
    """Close it at the end. What its driver raises until then becomes a `BackendError` that shows no secret of the URL;
    what we raise stays what it is.
    """
    try:
        try:
            yield
        finally:
            backend.close()
    except TallystickError:
        raise
    except Exception as error:
        if not _of_a_driver(error):
            raise
        raise BackendError(f"{backend.address} failed: {hider(url)(f'{type(error).__name__}: {error}')}") from error


def _of_a_driver(error: Exception) -> bool:
    """Whether it is of a kind, or passed through code, that is not ours, nor of what prints for us."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(module.partition(".")[0] not in _OURS for module in [type(error).__module__, *modules])


_OURS: Final = {"tallystick", "click", "rich", "msgspec", *sys.stdlib_module_names} - {"sqlite3"}
