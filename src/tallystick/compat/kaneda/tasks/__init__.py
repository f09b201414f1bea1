"""Kaneda's workers: what stores the records that came through a queue, with the `BACKEND` of the settings module."""

from __future__ import annotations

from tallystick.compat.kaneda.tasks.zmq import zmq_task

__all__ = ["zmq_task"]
