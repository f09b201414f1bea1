"""Which record types there are, by application, and which backend of `DJELME_BACKENDS` each one goes to."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tallystick.compat.djelme.aliases import ours
from tallystick.compat.djelme.protocols import ProtoDjelmeImp
from tallystick.compat.djelme.util.django import find_app_label_for_module
from tallystick.compat.djelme.util.timeseries_naming import format_namepart

__all__ = ["djelme_registry", "registry"]

_SETTING: Final = "DJELME_BACKENDS"


class _DjelmeRegistry:
    """Types are held weakly: one that is gone from the program is gone from here."""

    def __init__(self) -> None:
        self._by_app: dict[str, WeakValueDictionary[str, type]] = {}
        self._imp: WeakKeyDictionary[type, str] = WeakKeyDictionary()
        self._own_backend: WeakKeyDictionary[type, str] = WeakKeyDictionary()

    @cached_property
    def all_backends(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The setting. Raises `ImproperlyConfigured` for one of another form."""
        found: dict[str, dict[str, dict[str, Any]]] = getattr(settings, _SETTING, {})
        for imps in found.values():
            if len(imps) > 1:
                raise ImproperlyConfigured(_SETTING, "only one imp per backend, at the moment")
            for module, options in imps.items():
                if not isinstance(module, str) or not isinstance(options, dict) or not all(map(_is_text, options)):
                    shown = '{"mybackend": {"imp.path": {"imp_config": "..."}}}'
                    raise ImproperlyConfigured(_SETTING, f"expected {shown}")
        return found

    def register_recordtype(
        self, recordtype: type, *, imp_module_name: str, app_label: str = "", default_backend: str = ""
    ) -> None:
        label = app_label or find_app_label_for_module(recordtype.__module__)
        name, known = format_namepart(recordtype.__name__), self._by_app.setdefault(label, WeakValueDictionary())
        if name in known:
            raise RuntimeError(
                f"Conflicting {name!r} recordtypes in application {label!r}: {known[name]} and {recordtype}"
            )
        known[name] = recordtype
        self._imp[recordtype] = imp_module_name
        if default_backend and default_backend != "default":
            self._own_backend[recordtype] = default_backend

    def get_recordtype(self, app_label: str, recordtype_name: str | None = None) -> Any:
        """Raises `LookupError` for an unknown application or type, `ValueError` for one text without one dot."""
        apps.check_apps_ready()
        if recordtype_name is None:
            app_label, recordtype_name = app_label.split(".")
        found = self._of_app(app_label).get(format_namepart(recordtype_name))
        if found is None:
            raise LookupError(f"App {app_label!r} doesn't have a {recordtype_name!r} metric.")
        return found

    def get_recordtype_app_label(self, recordtype: type) -> str | None:
        name = format_namepart(recordtype.__name__)
        return next((label for label, known in self._by_app.items() if known.get(name) is recordtype), None)

    def get_backend(self, backend_name: str) -> Any:
        module, options = self._imp_of(backend_name)
        return self.get_imp_module(module).djelme_backend(backend_name, options)

    def get_imp_module(self, imp_module_name: str = "", *, backend_name: str = "") -> Any:
        if backend_name:
            assert not imp_module_name
            imp_module_name, _ = self._imp_of(backend_name)
        return _imp_module(ours(imp_module_name))

    def get_backend_for_recordtype(self, recordtype: type) -> Any:
        return self.get_backend(self.get_backend_name_for_recordtype(recordtype))

    def get_backend_name_for_recordtype(self, recordtype: type) -> str:
        if own := self._own_backend.get(recordtype):
            return own
        imp = self._imp.get(recordtype)
        if not imp:
            raise LookupError(f"no imp for recordtype {recordtype!r}?")
        names = list(self.each_backend_name(imp_module_name=imp))
        if not names:
            raise LookupError(f"no backends for recordtype {recordtype!r}")
        if len(names) > 1:
            raise LookupError(f"more than one backend for recordtype {recordtype!r}, must be set explicitly")
        return names[0]

    def each_recordtype(self, *, app_label: str = "") -> Iterator[Any]:
        apps.check_apps_ready()
        for label in [app_label] if app_label else list(self._by_app):
            yield from list(self._of_app(label).values())

    def each_backend_settings(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for name, imps in self.all_backends.items():
            for module, options in imps.items():
                yield name, module, options

    def each_backend_name(self, *, imp_module_name: str = "") -> Iterator[str]:
        for name, imps in self.all_backends.items():
            if not imp_module_name or ours(imp_module_name) in map(ours, imps):
                yield name

    def each_backend(self, *, imp_module_name: str = "") -> Iterator[Any]:
        return map(self.get_backend, self.each_backend_name(imp_module_name=imp_module_name))

    def each_app_label(self) -> Iterable[str]:
        yield from list(self._by_app)

    def recordtypes_by_backend(self, app_label: str = "") -> dict[str, Iterable[Any]]:
        found: dict[str, list[Any]] = {}
        for kind in self.each_recordtype(app_label=app_label):
            found.setdefault(self.get_backend_name_for_recordtype(kind), []).append(kind)
        return dict(found)

    def _imp_of(self, backend_name: str) -> tuple[str, dict[str, Any]]:
        if backend_name not in self.all_backends:
            raise LookupError(f"unknown imp {backend_name!r}")
        ((module, options),) = self.all_backends[backend_name].items()
        return module, options

    def _of_app(self, label: str) -> WeakValueDictionary[str, type]:
        if label not in self._by_app:
            apps.get_app_config(label)  # raises LookupError
        return self._by_app.get(label, WeakValueDictionary())


@cache
def _imp_module(name: str) -> Any:
    """Looked at once: each record asks for it several times."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"could not import {name!r}") from error
    assert isinstance(module, ProtoDjelmeImp)
    return module


def _is_text(value: object) -> bool:
    return isinstance(value, str)


djelme_registry: Final = _DjelmeRegistry()
registry: Final = djelme_registry
