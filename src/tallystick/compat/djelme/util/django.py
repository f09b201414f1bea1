"""Which application a module belongs to."""

from __future__ import annotations

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

__all__ = ["find_app_label_for_module"]


def find_app_label_for_module(module_name: str) -> str:
    """The label of the innermost installed application that holds the module."""
    label, longest = "", -1
    for config in apps.get_app_configs():
        name = config.module.__name__ if config.module is not None else None
        if name is not None and f"{module_name}.".startswith(f"{name}.") and len(name) > longest:
            label, longest = config.label, len(name)
    if not label:
        raise ImproperlyConfigured(f"module {module_name} isn't in an application in INSTALLED_APPS.")
    return label
