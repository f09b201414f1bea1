"""Kaneda's Celery queue."""

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

TASK = "kaneda.tasks.celery.report"
SECONDS = 5.0
_LIMITS = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS, "max_retries": 0}


class CeleryQueue(Queued):
    """Tasks `kaneda.tasks.celery.report`. `app` is a `celery.Celery`; else `broker` is the broker's URL."""

    settings_namespace = "CELERY"

    def __init__(self, app: Any = None, broker: str | None = None, queue_name: str = "") -> None:
        celery = _driver()
        self.queue_name = queue_name
        self.broker = broker
        if app is not None:
            if not isinstance(app, celery.Celery):
                raise ImproperlyConfigured('"app" parameter is not an instance of Celery')
            self.__dict__["app"] = app
        where = id(app) if app is not None else broker
        self.engine = Engine(("celery", queue_name, where), lambda: _Sender(self))

    @cached_property
    def app(self) -> Any:
        app = _driver().Celery(broker=self.broker or None, set_as_current=False)
        app.conf.update(broker_transport_options=_LIMITS, broker_connection_timeout=SECONDS, task_ignore_result=True)
        return app

    def _answer(self, job: str) -> Any:
        return self.app.AsyncResult(job)


class _Sender(Sender):
    scheme = "celery"

    def __init__(self, queue: CeleryQueue) -> None:
        super().__init__(f"{mask_url(queue.broker or 'app')}/{queue.queue_name}".replace("://", "-"))
        self._queue = queue

    def send(self, record: Record) -> None:
        errors = import_module("kombu.exceptions")
        queue = {"queue": self._queue.queue_name} if self._queue.queue_name else {}
        try:
            self._queue.app.send_task(
                TASK, args=given_of(record), kwargs=dict(beside(record)), task_id=record.id, retry=False, **queue
            )
        except (errors.OperationalError, OSError) as error:
            raise Unavailable(f"{self.address}: {error}") from error


def _driver() -> Any:
    try:
        return import_module("celery")
    except ImportError as error:
        raise ImproperlyConfigured("You need to install celery: pip install 'tallystick[kaneda]'") from error
