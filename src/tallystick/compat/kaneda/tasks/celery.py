"""The worker's side of Celery: `celery -A tallystick.compat.kaneda.tasks.celery worker`.

The application is configured by the module `celeryconfig` when there is one, else by `CELERY_BROKER` and
`CELERY_QUEUE_NAME` of the settings module.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tallystick.compat.kaneda.exceptions import ImproperlyConfigured
from tallystick.compat.kaneda.queues.celery import TASK
from tallystick.compat.kaneda.storing import store
from tallystick.compat.kaneda.utils import get_settings


def _application() -> Any:
    try:
        celery = import_module("celery")
    except ImportError as error:
        raise ImproperlyConfigured("You need to install celery: pip install 'tallystick[kaneda]'") from error
    made = celery.Celery("kaneda")
    made.conf.task_ignore_result = True
    made.conf.task_acks_late = True
    try:
        made.config_from_object(import_module("celeryconfig"))
    except ModuleNotFoundError as error:
        if error.name != "celeryconfig":
            raise
        settings = get_settings()
        made.conf.broker_url = getattr(settings, "CELERY_BROKER", None) or None
        if queue := getattr(settings, "CELERY_QUEUE_NAME", ""):
            made.conf.task_default_queue = queue
    return made


app = _application()


def _report(
    name: str, metric: str, value: Any, tags: Any = None, id_: Any = None, at: int | None = None, host: str = ""
) -> None:
    """A task of the queue: it is acknowledged when the record is in this host's spool."""
    store(name, metric, value, tags, id_, at, host)


report = app.task(_report, name=TASK)
