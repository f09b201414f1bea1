"""Every error of the library, one tree with one root.

    TallystickError
    ├── SettingsError            a setting, URL or argument is wrong
    ├── MissingExtra             a driver is not installed
    ├── RecordError              a record was refused at the call
    ├── QueryError               a question makes no sense
    ├── SpoolError               the folder on disk cannot do its work
    │   ├── SpoolUnsupported     … because this file system or platform cannot
    │   └── SpoolTooNew          … because a newer version wrote it
    └── BackendError             a database refused or did not answer
        ├── Unavailable          … keep all, try again later
        │   └── Misconfigured    … keep all, but a person must act first
        └── TooLarge             … send less at once

A message names the value, the place and the remedy. Recording never raises any of them
unless `Metrics(strict=True)`; see `RecordError`.
"""

from __future__ import annotations


class TallystickError(Exception):
    """The root: `except TallystickError` catches whatever this library raises on purpose."""


class SettingsError(TallystickError, ValueError):
    """A setting, a URL or an argument is wrong. Remedy: the message says which one and what it may be."""


class MissingExtra(TallystickError, ImportError):
    """A backend needs a driver that is not installed. Remedy: `pip install 'tallystick[<extra>]'`, as the message
    says.
    """


class RecordError(TallystickError, ValueError):
    """A record was refused at the call, before anything was stored.

    Every refusal is counted by reason and name. It is raised only by `Metrics(strict=True)`, otherwise logged at
    most once in ten seconds for each reason. Remedy: correct the argument that `field` names.

    `reason` is a short word for counting (`"nan"`, `"name"`, `"too_large"`, …), `field` the argument
    (`"value"`, `"tags['plan']"`).
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.reason = reason
        self.field = field


class QueryError(TallystickError, ValueError):
    """A `Query` makes no sense, or a backend cannot answer it. Remedy: as the message says."""


class SpoolError(TallystickError, OSError):
    """The spool's folder cannot be used. Remedy: `tallystick doctor` says what is wrong with it."""


class SpoolUnsupported(SpoolError):
    """The platform or file system lacks `flock`. Remedy: set `home` to a folder on a local disk."""


class SpoolTooNew(SpoolError):
    """A newer version of the library wrote this file; it is left alone. Remedy: upgrade tallystick here too."""


class BackendError(TallystickError):
    """A database refused or did not answer."""


class Unavailable(BackendError):
    """Nothing of the batch is known to be stored: keep all of it and try again.

    `retry_after_seconds` is what the server asked for (HTTP `Retry-After`), or None to let the agent choose.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Misconfigured(Unavailable):
    """The database answers, but a person must act: wrong password, missing database, missing right.

    Everything is kept and tried again, and `tallystick doctor` says it loudly. Remedy: as the message says.
    """


class TooLarge(BackendError):
    """The batch is larger than the server takes in one call. The agent halves it; a single record that is
    still too large goes to the dead letters."""


def said_by(error: BaseException) -> str:
    """The error's type and text, whatever it does when it is asked for them."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
