"""What the door raises, by the package's names."""

from __future__ import annotations


class DjelmeError(Exception):
    """The base of all."""


class DjelmeSetupError(DjelmeError):
    """`djelme_backend_setup` may be the remedy."""


class _NotFound(DjelmeSetupError):
    def __init__(self, message: str, client_error: Exception) -> None:
        super().__init__(message, client_error)
        self.client_error = client_error


class IndexNotFoundError(_NotFound):
    """A record type's index does not exist."""


class IndexTemplateNotFoundError(_NotFound):
    """A record type's index template does not exist."""


class IndexOutOfSyncError(DjelmeSetupError):
    """An index has other mappings than its type."""


class IndexTemplateOutOfSyncError(DjelmeSetupError):
    """A template has other mappings, patterns or settings than its type."""

    def __init__(self, message: str, mappings_in_sync: bool, patterns_in_sync: bool, settings_in_sync: bool) -> None:
        super().__init__(message, mappings_in_sync, patterns_in_sync, settings_in_sync)
        self.mappings_in_sync = mappings_in_sync
        self.patterns_in_sync = patterns_in_sync
        self.settings_in_sync = settings_in_sync
