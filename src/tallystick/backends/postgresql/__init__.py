"""PostgreSQL and Timescale. Begin to read at `backend.py`."""

from tallystick.backends.postgresql.backend import PostgresqlBackend

__all__ = ["PostgresqlBackend"]
