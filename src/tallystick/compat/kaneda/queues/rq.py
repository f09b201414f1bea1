"""Kaneda's RQ queue."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

from tallystick.compat.kaneda.engine import Engine
from tallystick.compat.kaneda.exceptions import ImproperlyConfigured
from tallystick.compat.kaneda.queues.base import Queued, Sender, beside, given_of
from tallystick.errors import Unavailable
from tallystick.masking import mask_url
from tallystick.records import Record

JOB = "tallystick.compat.kaneda.tasks.rq.report"
SECONDS = 5.0


class RQQueue(Queued):
    """Jobs in `rq:queue:<queue_name>`. `queue` is a `rq.Queue`; else `redis_url` says where."""

    settings_namespace = "RQ"

    def __init__(self, queue: Any = None, redis_url: str | None = None, queue_name: str = "kaneda") -> None:
        rq = _driver()
        self.queue_name = queue_name
        self.redis_url = redis_url
        if queue is not None:
            if not isinstance(queue, rq.Queue):
                raise ImproperlyConfigured('"queue" parameter is not an instance of RQ queue')
            self.__dict__["queue"] = queue
            self.queue_name = queue.name
        where = id(queue) if queue is not None else redis_url
        self.engine = Engine(("rq", self.queue_name, where), lambda: _Sender(self))

    @cached_property
    def queue(self) -> Any:
        redis = import_module("redis")
        limits = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
        url = self.redis_url or "redis://localhost:6379/0"
        return _driver().Queue(self.queue_name or "default", connection=redis.Redis.from_url(url, **limits))

    def _answer(self, job: str) -> Any:
        return import_module("rq.job").Job(job, connection=self.queue.connection)


class _Sender(Sender):
    scheme = "rq"

    def __init__(self, queue: RQQueue) -> None:
        super().__init__(f"{mask_url(queue.redis_url or 'redis')}/{queue.queue_name}".replace("://", "-"))
        self._queue = queue

    def send(self, record: Record) -> None:
        errors = import_module("redis.exceptions")
        try:
            self._queue.queue.enqueue_call(
                JOB, args=given_of(record), kwargs=dict(beside(record)), job_id=_job_id(record), result_ttl=0
            )
        except (errors.RedisError, OSError) as error:
            raise Unavailable(f"{self.address}: {error}") from error


def _job_id(record: Record) -> str:
    """RQ takes letters, digits, `-` and `_`."""
    id_ = record.id
    return id_ if id_.replace("-", "").replace("_", "").isalnum() and id_.isascii() else id_.encode().hex()


def _driver() -> Any:
    try:
        return import_module("rq")
    except ImportError as error:
        raise ImproperlyConfigured("You need to install rq and redis: pip install 'tallystick[kaneda]'") from error
