"""Kaneda's Django settings: `KANEDA_…` of the project's settings, with the defaults that were documented."""

from __future__ import annotations

from typing import Any


def _setting(name: str, default: Any = None) -> Any:
    from django.conf import settings

    return getattr(settings, f"KANEDA_{name}", default)


BACKEND = _setting("BACKEND")
QUEUE = _setting("QUEUE")

ELASTIC_INDEX_NAME = _setting("ELASTIC_INDEX_NAME", "kaneda")
ELASTIC_APP_NAME = _setting("ELASTIC_APP_NAME", "default")
ELASTIC_CONNECTION_URL = _setting("ELASTIC_CONNECTION_URL")
ELASTIC_HOST = _setting("ELASTIC_HOST")
ELASTIC_PORT = _setting("ELASTIC_PORT")
ELASTIC_USER = _setting("ELASTIC_USER")
ELASTIC_PASSWORD = _setting("ELASTIC_PASSWORD")
ELASTIC_TIMEOUT = _setting("ELASTIC_TIMEOUT", 0.3)

MONGO_DB_NAME = _setting("MONGO_DB_NAME", "kaneda")
MONGO_COLLECTION_NAME = _setting("MONGO_COLLECTION_NAME", "default")
MONGO_CONNECTION_URL = _setting("MONGO_CONNECTION_URL")
MONGO_HOST = _setting("MONGO_HOST")
MONGO_PORT = _setting("MONGO_PORT")
MONGO_TIMEOUT = _setting("MONGO_TIMEOUT", 300)

RETHINK_DB = _setting("RETHINK_DB", "kaneda")
RETHINK_TABLE_NAME = _setting("RETHINK_TABLE_NAME")
RETHINK_HOST = _setting("RETHINK_HOST")
RETHINK_PORT = _setting("RETHINK_PORT")
RETHINK_USER = _setting("RETHINK_USER")
RETHINK_PASSWORD = _setting("RETHINK_PASSWORD")
RETHINK_TIMEOUT = _setting("RETHINK_TIMEOUT", 0.3)

INFLUX_DATABASE = _setting("INFLUX_DATABASE", "kaneda")
INFLUX_CONNECTION_URL = _setting("INFLUX_CONNECTION_URL")
INFLUX_HOST = _setting("INFLUX_HOST")
INFLUX_PORT = _setting("INFLUX_PORT")
INFLUX_USERNAME = _setting("INFLUX_USERNAME")
INFLUX_PASSWORD = _setting("INFLUX_PASSWORD")
INFLUX_TIMEOUT = _setting("INFLUX_TIMEOUT", 0.3)

DEBUG = _setting("DEBUG", default=False)
LOGGER = _setting("LOGGER")
LOGGER_FILENAME = _setting("LOGGER_FILENAME")

CELERY_BROKER = _setting("CELERY_BROKER", "")
CELERY_QUEUE_NAME = _setting("CELERY_QUEUE_NAME", "")

RQ_REDIS_URL = _setting("RQ_REDIS_URL", "")
RQ_QUEUE_NAME = _setting("RQ_QUEUE_NAME", "kaneda")

ZMQ_CONNECTION_URL = _setting("ZMQ_CONNECTION_URL", "")
ZMQ_TIMEOUT = _setting("ZMQ_TIMEOUT", 300)
