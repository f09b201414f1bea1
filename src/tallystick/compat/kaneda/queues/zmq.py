"""Kaneda's ZeroMQ queue."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from tallystick.compat.kaneda.engine import Engine
from tallystick.compat.kaneda.exceptions import ImproperlyConfigured
from tallystick.compat.kaneda.queues.base import Queued, Sender, beside, given_of
from tallystick.errors import Unavailable
from tallystick.processes import PerProcess
from tallystick.records import Record


class ZMQQueue(Queued):
    """Messages on `connection_url`, where workers connect. `timeout` is in milliseconds, of one message.

    Of all processes with this URL one at a time binds the socket: the one whose agent delivers.
    """

    settings_namespace = "ZMQ"

    def __init__(self, connection_url: str, timeout: int = 300) -> None:
        _driver()
        self.connection_url = connection_url
        self.timeout = timeout
        self._held: PerProcess[Any] = PerProcess(_close)
        self.engine = Engine(("zmq", connection_url, timeout), lambda: _Sender(self))

    @property
    def socket(self) -> Any:
        """The bound socket, made when it is asked for. Raises `zmq.ZMQError` when another process has the URL."""
        socket = self._held.get()
        if socket is None or socket.closed:
            zmq = _driver()
            socket = zmq.Context.instance().socket(zmq.PUSH)
            socket.SNDTIMEO, socket.LINGER = self.timeout, self.timeout
            try:
                socket.bind(self.connection_url)
            except BaseException:
                socket.close()
                raise
            self._held.put(socket)
        return socket


class _Sender(Sender):
    scheme = "zmq"

    def __init__(self, queue: ZMQQueue) -> None:
        super().__init__(queue.connection_url.replace("://", "-"))
        self._queue = queue

    def send(self, record: Record) -> None:
        keys = ("name", "metric", "value", "tags", "id_")
        message = {**dict(zip(keys, given_of(record), strict=True)), **beside(record)}
        try:
            self._queue.socket.send(json.dumps(message).encode())
        except _driver().ZMQError as error:
            raise Unavailable(f"{self.address}: {error}; is a worker connected?") from error

    def close(self) -> None:
        self._queue._held.close()


def _close(socket: Any) -> None:
    socket.close()


def _driver() -> Any:
    try:
        return import_module("zmq")
    except ImportError as error:
        raise ImproperlyConfigured("You need to install pyzmq: pip install 'tallystick[kaneda]'") from error
