"""ClickHouse. Begin to read at `backend.py`."""

from tallystick.backends.clickhouse.backend import ClickhouseBackend

__all__ = ["ClickhouseBackend"]
