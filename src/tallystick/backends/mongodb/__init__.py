"""MongoDB. Begin to read at `backend.py`."""

from tallystick.backends.mongodb.backend import MongodbBackend

__all__ = ["MongodbBackend"]
