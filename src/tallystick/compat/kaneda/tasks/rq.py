"""The worker's side of RQ: `rq worker kaneda`.

RQ runs each job in a child of its own that ends without the usual steps of an exit. So a job waits for the database,
but not for long: what it could not deliver is in the spool, and the next job's agent, or `tallystick agent`, goes on.
"""

from __future__ import annotations

from typing import Any

from tallystick.compat.kaneda.storing import settle, store

WAIT_SECONDS = 5.0


def report(
    name: str, metric: str, value: Any, tags: Any = None, id_: Any = None, at: int | None = None, host: str = ""
) -> None:
    """A job of the queue."""
    store(name, metric, value, tags, id_, at, host)
    settle(WAIT_SECONDS)
