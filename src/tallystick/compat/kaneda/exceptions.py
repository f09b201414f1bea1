"""Kaneda's exceptions."""

from __future__ import annotations


class ImproperlyConfigured(ImportError):
    """A driver is missing, or an object handed in is of a wrong class."""


class UnexistingKanedaClass(ImportError):
    """The class that a setting names does not exist."""


class SettingsError(Exception):
    """There are no settings, or they name neither a backend nor a queue that exists."""
