"""The `Metrics` of a Django project, made at its first use by the settings dict `TALLYSTICK`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tallystick.errors import SettingsError
from tallystick.recorder.metrics import Metrics

SETTING: Final = "TALLYSTICK"
_made: Final[list[Metrics]] = []
_lock: Final = threading.Lock()


def options() -> dict[str, Any]:
    """The settings dict. Raises `ImproperlyConfigured` for what is none."""
    found = getattr(settings, SETTING, {})
    if not isinstance(found, Mapping):
        raise ImproperlyConfigured(f"{SETTING} must be a dict of settings, such as {{'backend': 'sqlite:///m.db'}}")
    return dict(found)


def metrics() -> Metrics:
    """The project's. Raises `ImproperlyConfigured` when the settings dict has no meaning."""
    if not _made:
        with _lock:
            if not _made:
                try:
                    _made.append(Metrics(**options()))
                except (SettingsError, TypeError) as error:
                    raise ImproperlyConfigured(f"{SETTING}: {error}") from error
    return _made[0]


def forget() -> None:
    """Close what was made; the next use makes it by the settings of then (`override_settings`)."""
    with _lock:
        made, _made[:] = list(_made), []
    for one in made:
        one.close()


def on_commit(record: Callable[[Metrics], object], using: str | None = None) -> None:
    """Call `record` with the project's metrics when the transaction commits; not at all when it is rolled back."""
    from django.db import transaction

    transaction.on_commit(lambda: record(metrics()), using=using)
