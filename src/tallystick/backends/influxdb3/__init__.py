"""InfluxDB 3, with the points of `influxdb/` and questions in SQL. Begin to read at `backend.py`."""

from tallystick.backends.influxdb3.backend import Influxdb3Backend

__all__ = ["Influxdb3Backend"]
