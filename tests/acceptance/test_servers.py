"""Servers that fork, thread and patch in their own ways: each answered request's record ends in the database once."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.stage import until

from tallystick.backends.sqlite import SqliteBackend
from tallystick.queries import Query
from tallystick.spool.account import account
from tallystick.spool.folder import Folder

REQUESTS = 40
BIN = Path(sysconfig.get_path("scripts"))

APPLICATION = """
from tallystick import Metrics

metrics = Metrics()
metrics.increment("boot")


def wsgi(environ, start_response):
    metrics.increment("hits", tags={"n": environ["PATH_INFO"]})
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("only http")
    metrics.increment("hits", tags={"n": scope["path"]})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""

POOL = """
import multiprocessing, sys
from tallystick import Metrics

def work(number):
    from tallystick import Metrics
    global metrics
    if metrics is None:
        metrics = Metrics()
    metrics.increment("hits", tags={"n": f"/{number}"})

metrics = Metrics() if sys.argv[1] == "fork" else None
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    metrics = metrics or Metrics()
    with context.Pool(2, maxtasksperchild=7) as pool:
        pool.map(work, range(40), chunksize=1)
        pool.close()
        pool.join()
"""

GUNICORN = ["gunicorn", "application:wsgi", "--workers", "2", "--max-requests", "13", "--log-level", "warning"]
GUNICORN += ["--graceful-timeout", "3"]  # a connection that a client keeps open holds a gevent worker up for 30 s
SERVERS = {
    "gunicorn sync": [*GUNICORN, "--bind", "{address}"],
    "gunicorn sync, preload": [*GUNICORN, "--bind", "{address}", "--preload"],
    "gunicorn gthread": [*GUNICORN, "--bind", "{address}", "-k", "gthread", "--threads", "4"],
    "gunicorn gthread, preload": [*GUNICORN, "--bind", "{address}", "-k", "gthread", "--threads", "4", "--preload"],
    "gunicorn gevent": [*GUNICORN, "--bind", "{address}", "-k", "gevent"],
    "gunicorn gevent, preload": [*GUNICORN, "--bind", "{address}", "-k", "gevent", "--preload"],
    "uvicorn": ["uvicorn", "application:asgi", "--workers", "2", "--port", "{port}", "--log-level", "warning"],
}


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        number: int = found.getsockname()[1]
        return number


@contextlib.contextmanager
def serving(command: list[str], port: int, folder: Path) -> Iterator[None]:
    words = [word.format(address=f"127.0.0.1:{port}", port=port) for word in command]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([BIN / words[0], *words[1:]], cwd=folder, stdout=log, stderr=log)
        try:
            assert until(lambda: ask(port, "/0")), (folder / "server.log").read_text()
            yield
        finally:
            for _ in range(5):  # gunicorn loses a signal that comes beside the fork of a worker
                server.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(4)
                    break
            else:
                server.kill()
                server.wait()
                raise AssertionError("the server does not end")


def ask(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def assert_each_once(home: Path, answered: list[str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "tallystick", "agent", "--drain"], check=True, capture_output=True, timeout=60
    )
    hits = Counter(one.tags["n"] for one in SqliteBackend(Folder(home).database).records(Query("hits")))
    assert not [path for path in answered if hits[path] != 1]
    assert max(hits.values()) == 1
    books = account(Folder(home))
    assert not books.imbalance()
    assert not books.dead
    assert not books.dropped


@pytest.mark.parametrize("server", SERVERS)
def test_each_answered_request_of_a_server_is_recorded_once(server: str, home: Path, tmp_path: Path, port: int) -> None:
    command = SERVERS[server]
    (tmp_path / "application.py").write_text(APPLICATION)
    with serving(command, port, tmp_path):
        answered = [path for path in (f"/{number}" for number in range(1, REQUESTS)) if ask(port, path)]
    assert len(answered) > REQUESTS // 2
    assert_each_once(home, answered)


@pytest.mark.parametrize("way", ["fork", "spawn", "forkserver"])
def test_each_task_of_a_pool_is_recorded_once(way: str, home: Path, tmp_path: Path) -> None:
    program = tmp_path / "pool.py"
    program.write_text(POOL)
    subprocess.run([sys.executable, program, way], check=True, timeout=60)
    assert_each_once(home, [f"/{number}" for number in range(40)])
