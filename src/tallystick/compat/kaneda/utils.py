"""Kaneda's settings: the module `kanedasettings`, or the one that `KANEDA_SETTINGS_MODULE` names.

Class paths keep naming Kaneda (`kaneda.backends.MongoBackend`): they mean this package, whether Kaneda is installed or
not. The documentation called the environment variable by its constant's name; that one is read, too.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final

from tallystick.compat.kaneda.aliases import ours
from tallystick.compat.kaneda.exceptions import ImproperlyConfigured, SettingsError, UnexistingKanedaClass

DEFAULT_SETTINGS_ENVAR: Final = "KANEDA_SETTINGS_MODULE"
DEFAULT_SETTINGS_MODULE: Final = "kanedasettings"
string_types: Final = (str,)


def import_class(path_or_callable: Any) -> Any:
    """The class of a dotted path; a class is given back. Raises `ImportError` or `AttributeError`."""
    if callable(path_or_callable):
        return path_or_callable
    module, _, name = str(path_or_callable).rpartition(".")
    return getattr(import_module(ours(module)), name)


def get_settings() -> Any:
    """The settings module. Raises `ImportError`."""
    names = (os.environ.get(variable) for variable in (DEFAULT_SETTINGS_ENVAR, "DEFAULT_SETTINGS_ENVAR"))
    return import_module(next(filter(None, names), DEFAULT_SETTINGS_MODULE))


def get_object_from_settings(class_path: Any, settings: Any) -> Any:
    """The object of this class, made with every setting of its namespace: `ELASTIC_HOST` is `host`.

    Raises `UnexistingKanedaClass`, and `TypeError` for a setting that the class does not take.
    """
    try:
        found = import_class(class_path)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnexistingKanedaClass(f"The class {class_path!r} of BACKEND or QUEUE does not exist: {error}") from error
    namespace = getattr(found, "settings_namespace", None)
    if not namespace:
        return found()
    prefix = f"{namespace}_"
    names = [name for name in dir(settings) if name.startswith(prefix)]
    return found(**{name.removeprefix(prefix).lower(): getattr(settings, name) for name in names})


def get_backend() -> Any:
    """The object of `BACKEND`. Raises `SettingsError`."""
    settings = _settings()
    if not hasattr(settings, "BACKEND"):
        raise SettingsError("You need to set BACKEND in the Kaneda settings module")
    return _made(settings.BACKEND, settings)


def get_kaneda_objects() -> tuple[Any, Any]:
    """A backend and None, or None and a queue; `BACKEND` comes first, and may name a queue's class. Raises
    `SettingsError`."""
    settings = _settings()
    for name in ("BACKEND", "QUEUE"):
        if hasattr(settings, name):
            made = _made(getattr(settings, name), settings)
            is_queue = name == "QUEUE" or _is_queue(made)
            return (None, made) if is_queue else (made, None)
    raise SettingsError("You need to set BACKEND or QUEUE in the Kaneda settings module")


def _is_queue(made: object) -> bool:
    from tallystick.compat.kaneda.queues.base import BaseQueue

    return isinstance(made, BaseQueue)


def _settings() -> Any:
    try:
        return get_settings()
    except ImportError as error:
        raise SettingsError(
            f"Define backend or queue settings in {DEFAULT_SETTINGS_MODULE}.py, or name your settings module in"
            f" the environment variable {DEFAULT_SETTINGS_ENVAR} ({error})"
        ) from error


def _made(class_path: Any, settings: Any) -> Any:
    try:
        return get_object_from_settings(class_path, settings)
    except ImproperlyConfigured:
        raise
    except ImportError as error:
        raise SettingsError(str(error)) from error
