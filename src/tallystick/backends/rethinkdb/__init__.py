"""RethinkDB. Begin to read at `backend.py`."""

from tallystick.backends.rethinkdb.backend import RethinkdbBackend

__all__ = ["RethinkdbBackend"]
