"""A web server as gunicorn runs one with preload: the master imports the application, with its `Metrics`, then forks
workers that share its socket, and replaces those that die. A request is a line; each is recorded, then answered.

    python -m tests.acceptance.programs.prefork WORKERS
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from types import FrameType

from tallystick import Metrics

metrics = Metrics(segment_bytes=65_536)  # at import, before any fork
metrics.increment("imported")


def serve(listener: socket.socket) -> None:
    """What a worker does: a request a connection; the answer tells who gave it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        connection, _ = listener.accept()
        with connection:
            request = connection.recv(100).decode()
            metrics.increment("request", int(request), tags={"worker": str(os.getpid())})
            connection.sendall(f"{os.getpid()}".encode())


class Master:
    def __init__(self, workers: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._workers: set[int] = set()
        self._stopping = False
        signal.signal(signal.SIGTERM, self._stop)
        for _ in range(workers):
            self._fork()
        print(self._listener.getsockname()[1], flush=True)

    def _fork(self) -> None:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            serve(self._listener)
        self._workers.add(pid)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for worker in self._workers:
            os.kill(worker, signal.SIGTERM)

    def run(self) -> None:
        while self._workers:
            pid, _ = os.wait()
            self._workers.discard(pid)
            metrics.increment("worker.ended")
            if not self._stopping:
                self._fork()


if __name__ == "__main__":
    Master(int(sys.argv[1])).run()
