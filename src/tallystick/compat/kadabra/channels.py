"""`RedisChannel`: Kadabra's two lists, called by hand.

`Kadabra.send` and `Agent` go by the engine instead, to the same lists; see `lists.py`.
"""

from __future__ import annotations

import json
import logging
from typing import Any, ClassVar

from tallystick.compat.kadabra.metrics import Metrics


class RedisChannel:
    """Each call is one round trip and raises what redis-py raises."""

    DEFAULT_ARGS: ClassVar[dict[str, Any]] = {
        "host": "localhost",
        "port": 6379,
        "db": 0,
        "logger": "kadabra.channel",
        "queue_key": "kadabra_queue",
        "inprogress_key": "kadabra_inprogress",
    }

    def __init__(self, host: str, port: int, db: int, logger: str, queue_key: str, inprogress_key: str) -> None:
        import redis

        self.client: Any = redis.StrictRedis(host=host, port=port, db=db)
        self.logger = logging.getLogger(logger)
        self.queue_key = queue_key
        self.inprogress_key = inprogress_key
        self.place = (host, port, db)

    @property
    def url(self) -> str:
        """The lists as a channel of this library."""
        host, port, db = self.place
        shown = f"[{host}]" if ":" in host else host
        return f"kadabra+redis://{shown}:{port}/{db}?queue={self.queue_key}&inprogress={self.inprogress_key}"

    def send(self, metrics: Metrics) -> None:
        """Push the metrics onto the list."""
        given = metrics.serialize()
        self.logger.debug("Sending %s", given)
        self.client.lpush(self.queue_key, json.dumps(given))

    transport = send

    def receive(self) -> Metrics | None:
        """The oldest metrics, which are in progress from now on; None when there are none for 10 s."""
        raw = self.client.brpoplpush(self.queue_key, self.inprogress_key, timeout=10)
        return Metrics.deserialize(json.loads(raw)) if raw else None

    def receive_batch(self, max_batch_size: int) -> list[Metrics]:
        """At most so many of the oldest, which are in progress from now on."""
        pipeline = self.client.pipeline()
        for _ in range(max_batch_size):
            pipeline.rpoplpush(self.queue_key, self.inprogress_key)
        return [Metrics.deserialize(json.loads(raw)) for raw in pipeline.execute() if raw is not None]

    def complete(self, metrics: list[Metrics]) -> None:
        """They are published: no longer in progress."""
        if metrics:
            pipeline = self.client.pipeline()
            for one in metrics:
                pipeline.lrem(self.inprogress_key, 1, json.dumps(one.serialize()))
            pipeline.execute()

    def in_progress(self, query_limit: int) -> list[Metrics]:
        """At most so many of those in progress."""
        found = self.client.lrange(self.inprogress_key, 0, query_limit - 1)
        return [Metrics.deserialize(json.loads(raw)) for raw in found]
