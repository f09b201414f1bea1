"""What queues of one's own subclass, and what Kaneda's own ones share.

A call to one of ours is a record in the spool; the agent hands it to the broker, again and again while the broker is
down, and a worker stores it. On the wire stand Kaneda's five values, and beside them the record's time and host, which
Kaneda's own workers do not know: so workers move first.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from tallystick.backends.base import BaseBackend, WriteResult
from tallystick.codec import plain
from tallystick.compat.kaneda.engine import Engine
from tallystick.compat.kaneda.given import host_of, kind_of, tags_of
from tallystick.errors import Unavailable
from tallystick.records import Batch, Record


class BaseQueue:
    """Subclass it and define `report`, which is called at once, in the caller's thread; its answer is passed on."""

    settings_namespace: str | None = None

    def report(self, name: str, metric: str, value: Any, tags: Any, id_: Any) -> Any:
        raise TypeError(f"{type(self).__qualname__} must define report(name, metric, value, tags, id_)")


class Queued(BaseQueue):
    """A queue whose records go through the spool."""

    engine: Engine

    def report(self, name: str, metric: str, value: Any, tags: Any, id_: Any) -> Any:
        job = str(id_) if id_ is not None and id_ != "" else uuid.uuid4().hex
        self.engine.record(name, metric, value, tags, job)
        return self._answer(job)

    def _answer(self, job: str) -> Any:
        """What Kaneda's own answered."""
        return None


class Sender(BaseBackend):
    """The broker as the agent's target. `passing` are the exceptions of its client that pass."""

    scheme: ClassVar[str]

    def __init__(self, place: str) -> None:
        self._place = place

    @property
    def address(self) -> str:
        return f"kaneda+{self.scheme}://{self._place}"

    def send(self, record: Record) -> None:
        """Hand one record to the broker. Raises `Unavailable` when it does not take it now."""
        raise TypeError(f"{type(self).__qualname__} must define send(record)")

    def write(self, batch: Batch) -> WriteResult:
        for index, record in enumerate(batch.records):
            try:
                self.send(record)
            except Unavailable as error:
                return WriteResult(kept=dict.fromkeys(range(index, len(batch)), str(error)))
        return WriteResult()


def given_of(record: Record) -> tuple[Any, ...]:
    """Kaneda's five values: name, kind, value, tags, id."""
    return record.name, kind_of(record), plain(record.value)[0], tags_of(record) or None, record.own_id


def beside(record: Record) -> Mapping[str, Any]:
    return {"at": record.timestamp_ns, "host": host_of(record)}
