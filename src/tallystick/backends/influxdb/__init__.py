"""InfluxDB 1 and 2. Begin to read at `backend.py`; `lines.py` says what a record is there, of all three versions."""

from tallystick.backends.influxdb.backend import InfluxdbBackend

__all__ = ["InfluxdbBackend"]
