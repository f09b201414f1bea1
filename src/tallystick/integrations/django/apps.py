"""The application: finds each `metrics.py`, lets typed records go to the project's metrics, checks the settings."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import autodiscover_modules

from tallystick import plugins
from tallystick.errors import SettingsError
from tallystick.integrations.django import recording
from tallystick.settings import load_settings
from tallystick.typed.types import use_by


class TallystickConfig(AppConfig):
    name = "tallystick.integrations.django"
    label = "tallystick"

    def ready(self) -> None:
        use_by(recording.metrics)
        checks.register(check_settings)
        setting_changed.connect(_changed)
        autodiscover_modules("metrics")


def _changed(*, setting: str, **_: Any) -> None:
    if setting == recording.SETTING:
        recording.forget()


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """`tallystick.E001`: the settings have no meaning. `tallystick.W001`: nothing is kept but on this host."""
    try:
        options = recording.options()
        backend = options.get("backend")
        load_settings(**options)
        if isinstance(backend, str):
            plugins.backend_from_url(backend)
    except (ImproperlyConfigured, SettingsError, TypeError) as error:
        return [checks.Error(str(error), hint=f"Correct {recording.SETTING}.", id="tallystick.E001")]
    if isinstance(backend, str) and backend.startswith("memory:"):
        return [checks.Warning("memory:// is gone with each process.", hint="Name a database.", id="tallystick.W001")]
    return []
