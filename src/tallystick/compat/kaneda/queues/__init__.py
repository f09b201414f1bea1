"""Kaneda's queues."""

from __future__ import annotations

from tallystick.compat.kaneda.queues.base import BaseQueue
from tallystick.compat.kaneda.queues.celery import CeleryQueue
from tallystick.compat.kaneda.queues.rq import RQQueue
from tallystick.compat.kaneda.queues.zmq import ZMQQueue

__all__ = ["BaseQueue", "CeleryQueue", "RQQueue", "ZMQQueue"]
