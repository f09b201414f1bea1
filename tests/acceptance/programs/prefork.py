"""A web server as gunicorn runs one with preload: the master imports the application, with its `Metrics`, then forks
workers that share its socket, and replaces those that die. A request is a line; each is recorded, then answered.

    python -m tests.acceptance.programs.prefork WORKERS
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from tallystick import Metrics

# Blocked in the master and its threads, so that no handler of it runs in a child, nor between a fork and the note of
# who was forked.
HELD = {signal.SIGTERM, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, HELD)

metrics = Metrics(segment_bytes=65_536)  # at import, before any fork
metrics.increment("imported")


def serve(listener: socket.socket) -> None:
    """What a worker does: a request a connection; the answer tells who gave it.

    It looks up from waiting now and then, as a SIGTERM just before the wait begins does not end it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    listener.settimeout(0.1)
    while True:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection:
            request = connection.recv(100).decode()
            metrics.increment("request", int(request), tags={"worker": str(os.getpid())})
            connection.sendall(f"{os.getpid()}".encode())


class Master:
    def __init__(self, workers: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._workers: set[int] = set()
        self._stopping = False
        for _ in range(workers):
            self._fork()
        print(self._listener.getsockname()[1], flush=True)

    def _fork(self) -> None:
        pid = os.fork()
        if pid == 0:
            serve(self._listener)
        self._workers.add(pid)

    def run(self) -> None:
        while self._workers:
            number = signal.sigwait(HELD)
            self._replace_the_dead()
            if number == signal.SIGTERM:
                self._stopping = True
                for worker in self._workers:
                    os.kill(worker, signal.SIGTERM)

    def _replace_the_dead(self) -> None:
        """All of them: two may have died for one SIGCHLD."""
        for worker in list(self._workers):
            if os.waitpid(worker, os.WNOHANG) != (0, 0):
                self._workers.discard(worker)
                metrics.increment("worker.ended")
                if not self._stopping:
                    self._fork()


if __name__ == "__main__":
    Master(int(sys.argv[1])).run()
