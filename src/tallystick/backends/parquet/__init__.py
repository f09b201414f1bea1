"""A folder of Parquet files. Begin to read at `backend.py`, and at `folder.py` for what the files' names promise."""

from tallystick.backends.parquet.backend import ParquetBackend

__all__ = ["ParquetBackend"]
