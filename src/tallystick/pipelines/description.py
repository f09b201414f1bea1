"""What a pipeline is, as `pipeline.json` in its folder says: where its records go, and what concerns that database.

    {"tallystick": 1, "backend": "postgresql://db1:5432/metrics?schema=tallystick", "by": "url",
     "url": "postgresql://db1/metrics", "retention_days": 30}

Invariants
- The target is written once, when the pipeline is first used, and stays. A default, a question or another process
  changes nothing: who means another target is refused. `move` changes it, on purpose.
- `retention_days`, `batch_records` and `dead_limit_bytes` are there when somebody set them; whoever delivers applies
  them. A process that sets one when it records changes it (a default does not), and the log says so.
- Keys that this version does not know stay what they are.
- It holds no secret. `url` is masked; where the mask shows, somebody else has to give the URL.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from tallystick.errors import SettingsError, SpoolError
from tallystick.masking import mask_url
from tallystick.settings import Settings, table
from tallystick.spool import disk
from tallystick.spool.folder import Folder

logger = logging.getLogger("tallystick.pipelines")

TERMS: Final = ("retention_days", "batch_records", "dead_limit_bytes")
"""The settings that concern the database, and not one of the applications that record for it."""

LOCK_SECONDS: Final = 0.05
LOCK_TRIES: Final = 10

By = Literal["", "folder", "url", "object"]


class Description(msgspec.Struct, frozen=True):
    """`backend` is the target's address, empty when nobody has said it yet. `by` tells how it was said: `folder` is the
    SQLite file in the pipeline's folder, wherever that was moved to; `object` a backend that only its application has.
    """

    backend: str = ""
    by: str = ""
    url: str = ""
    retention_days: int | None = None
    batch_records: int | None = None
    dead_limit_bytes: int | None = None

    def terms(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in TERMS if getattr(self, name) is not None}


def read(folder: Folder) -> Description:
    """What the file says; of what is garbled, nothing."""
    found: dict[str, Any] = {}
    for name, value in folder.description().items():
        if name in Description.__struct_fields__:
            with contextlib.suppress(msgspec.ValidationError):
                hint = table()[name].type if name in TERMS else str
                found[name] = msgspec.convert(value, hint)
    return Description(**found)


def facts(address: str, by: By, url: str | None = None) -> dict[str, str]:
    """What is written of a target. The URL besides the address: it says the options, and, by its mask, that there is a
    password to be known.
    """
    return {"backend": address, "by": by, **({} if url is None else {"url": mask_url(url)})}


def first(folder: Folder, target: dict[str, str]) -> Description:
    """Write the target, unless one is there already; what stands then."""
    with contextlib.suppress(OSError), _held(folder):
        if not read(folder).backend:
            folder.describe(**{**folder.description(), **target})
    return read(folder)


def tell(folder: Folder, settings: Settings, *, over: bool = True) -> None:
    """Write down what these settings say of the database, defaults apart; without `over`, only what nobody has said."""
    told = {name: getattr(settings, name) for name in TERMS if settings.source(name) != "default"}
    known = read(folder).terms()
    new = {name: value for name, value in told.items() if known.get(name) != value and (over or name not in known)}
    if not new:
        return
    with contextlib.suppress(OSError), _held(folder):
        folder.describe(**{**folder.description(), **new})
    for name in new.keys() & known.keys():
        where = settings.source(name)
        logger.warning("pipeline %s: %s is now %s, it was %s (%s)", folder.name, name, new[name], known[name], where)


def move(folder: Folder, target: dict[str, str]) -> None:
    """Change the target on purpose. Its caller is elected, so that nobody delivers meanwhile. Raises `SpoolError`."""
    with _held(folder):
        kept = {name: value for name, value in folder.description().items() if name != "url"}
        folder.describe(**{**kept, **target})
    if read(folder).backend != target["backend"]:
        raise SpoolError(f"{folder.about} cannot be written; run as the user who owns it")


def in_force(folder: Folder, settings: Settings) -> Settings:
    """These settings, with what the pipeline's description says of its database."""
    return msgspec.structs.replace(settings, **read(folder).terms())


def refusal(folder: Folder, address: str, own: str) -> str:
    """Why records for this address must not go into the pipeline, and the remedy; empty when they may. `own` is the
    address of the SQLite file in its folder.
    """
    if why := elsewhere(folder, address, own):
        return why
    if folder.name == "default" and address != own and not read(folder).backend:
        remedy = "leave `pipeline` out, so that the name follows from the backend, or name another"
        return f"pipeline default: it is the SQLite file of the home, and not {address}; {remedy}"
    return ""


def elsewhere(folder: Folder, address: str, own: str) -> str:
    """As `refusal`, of what the description says; empty where it says nothing."""
    about = read(folder)
    there = own if about.by == "folder" else about.backend
    remedy = f"leave `pipeline` out or name another; `tallystick pipeline move {folder.name} URL` moves all of it"
    return (
        f"pipeline {folder.name}: its records go to {there}, and not to {address}; {remedy}"
        if there not in ("", address)
        else ""
    )


def refuse(folder: Folder, address: str, own: str) -> None:
    """Raises `SettingsError` when there is a `refusal`."""
    if why := refusal(folder, address, own):
        raise SettingsError(why)


@contextlib.contextmanager
def _held(folder: Folder) -> Iterator[None]:
    """Alone with the description, where that can be had at once: a call that records waits for nobody, and the worst of
    two writers at the same moment is that one of the `TERMS` has to be said again.
    """
    lock = disk.LockFile(folder.about_lock)
    try:
        for _ in range(LOCK_TRIES):
            if lock.acquire():
                break
            time.sleep(LOCK_SECONDS / LOCK_TRIES)
        yield
    finally:
        lock.release()
