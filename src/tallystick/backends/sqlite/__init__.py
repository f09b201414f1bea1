"""One SQLite file. Begin to read at `backend.py`."""

from tallystick.backends.sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
