"""RQ's jobs, read without unpickling objects.

RQ keeps a job as a pickle, which runs whatever it names. This serializer reads pickles of plain values only: texts,
numbers, bools, None, lists, tuples and dicts. Anything else is refused, and the job fails with the reason.
"""

from __future__ import annotations

import io
import pickle
from typing import Any


class PlainSerializer:
    """For `rq worker --serializer tallystick.compat.kaneda.plain_jobs.PlainSerializer`."""

    @staticmethod
    def dumps(value: Any, *_options: Any) -> bytes:
        return pickle.dumps(value, protocol=4)

    @staticmethod
    def loads(data: bytes, *_options: Any) -> Any:
        return _Plain(io.BytesIO(data)).load()


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"the job names {module}.{name}; only plain values are read")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("the job names an object outside of it; only plain values are read")
