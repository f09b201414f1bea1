"""Asking a pipeline's database, from outside of the applications that record into it.

What a driver raises, here or while a command works with the backend (`used`), is told as any failure is: in one line,
with no secret of the URL. What our own code raises by mistake stays what it is, a traceback.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from typing import Final

from tallystick.backends.base import Backend
from tallystick.backends.parquet.backend import ParquetBackend
from tallystick.backends.sqlite.backend import SqliteBackend, spare_log
from tallystick.errors import BackendError, TallystickError
from tallystick.masking import hider
from tallystick.pipelines.targets import Target, target_of
from tallystick.settings import load_settings


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
