"""Records through each of Kaneda's queues, by real brokers and workers, and what an old client left there."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import rq
import zmq

from tallystick.compat.kaneda import Metrics
from tallystick.compat.kaneda.plain_jobs import PlainSerializer
from tallystick.compat.kaneda.queues import CeleryQueue, RQQueue, ZMQQueue
from tests.compat.kaneda.places import mongo, own_name
from tests.services import _free_port, service

pytestmark = pytest.mark.service("mongodb", "redis")

OLD_JOB = base64.b64decode(  # of Kaneda 1.0
    "eJxrYJ3qwAABGj1i2Yl5qSmJeiWJxdnFekWFekWpBflFJVP8NHr4EvOKy1OL4vPT4nMy01Kn9LCmJ5amp07x1vLzK5lSO6Vkih4AdYsaQQ=="
)


def broker() -> str:
    return service("redis").rstrip("/").removesuffix("/0")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """A folder with a settings module whose backend is a database of the test's own."""
    database = own_name()
    settings = f"""\
BACKEND = "kaneda.backends.MongoBackend"
MONGO_DB_NAME = {database!r}
MONGO_COLLECTION_NAME = "metrics"
MONGO_CONNECTION_URL = {service("mongodb") + "/"!r}
MONGO_TIMEOUT = 5000
CELERY_BROKER = {broker() + "/3"!r}
CELERY_QUEUE_NAME = {database!r}
"""
    (tmp_path / "kanedasettings.py").write_text(settings)
    with mongo() as client:
        yield database, client[database]["metrics"]
        client.drop_database(database)


@contextlib.contextmanager
def worker(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "TALLYSTICK_HOME": str(folder / "worker"), "PYTHONPATH": str(folder)}
    environment["PATH"] = f"{scripts}:{environment['PATH']}"
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(ready: Callable[[], bool], folder: Path, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, (folder / "worker.log").read_text()
        time.sleep(0.05)


def record(queue: Any) -> tuple[Any, tuple[float, float]]:
    metrics = Metrics(queue=queue)
    before = time.time()
    answer = metrics.gauge("answer_of_life", 42)
    metrics.timing("t", 0.5, tags={"k": "v"})
    metrics.custom("hotel", metric="xml", value={"status": "ok"}, tags=["t"], id_="2B75D750")
    return answer, (before, time.time())


def stored_as_recorded(found: list[dict[str, Any]], when: tuple[float, float]) -> None:
    by_name = {document["name"]: document for document in found}
    assert set(by_name) == {"answer_of_life", "t", "hotel"}
    assert by_name["t"]["tags"] == {"k": "v"}
    assert (by_name["hotel"]["_id"], by_name["hotel"]["tags"]) == ("2B75D750", ["t"])
    for document in found:  # the time of the record, not of the worker
        assert when[0] - 0.01 <= document["timestamp"].timestamp() + _zone() <= when[1] + 0.01


def _zone() -> float:
    return -time.timezone if time.localtime().tm_isdst == 0 else -time.altzone


def test_rq_carries_records_and_its_worker_takes_what_an_old_client_left(
    tmp_path: Path, place: tuple[str, Any]
) -> None:
    name, stored = place
    url = broker()
    queue = RQQueue(redis_url=f"{url}/2", queue_name=name)
    answer, when = record(queue)
    assert answer.id
    assert queue.engine.metrics.flush(20)
    assert len(queue.queue) == 3
    time.sleep(1)
    command = [
        sys.executable,
        "-m",
        "tallystick.compat.kaneda",
        "--",
        "rq",
        "worker",
        "--burst",
        "-u",
        f"{url}/2",
        name,
    ]
    with worker(tmp_path, *command) as process:
        until(lambda: process.poll() is not None, tmp_path)
    stored_as_recorded(list(stored.find()), when)
    assert stored.find_one({"name": "answer_of_life"})["_id"] == answer.id
    with redis.Redis.from_url(f"{url}/2") as connection:
        old = rq.Queue(name, connection=connection)
        job = old.enqueue("kaneda.tasks.rq.report", "old", "gauge", 1, None, None)
        assert PlainSerializer.loads(job.serializer.dumps(("a", None, (1,), {}))) == ("a", None, (1,), {})
        with worker(tmp_path, *command) as process:
            until(lambda: process.poll() is not None, tmp_path)
        assert stored.count_documents({"name": "old"}) == 1
        old.delete(delete_jobs=True)


def test_an_old_job_is_read_as_plain_values_and_one_that_names_an_object_is_refused() -> None:
    import pickle
    import zlib

    read = PlainSerializer.loads(zlib.decompress(OLD_JOB))
    assert read == ("kaneda.tasks.rq.report", None, ("answer_of_life", "gauge", 42, None, None), {})
    with pytest.raises(pickle.UnpicklingError, match=r"names posix.system"):
        PlainSerializer.loads(pickle.dumps(os.system))


def test_celery_carries_records(tmp_path: Path, place: tuple[str, Any]) -> None:
    name, stored = place
    queue = CeleryQueue(broker=f"{broker()}/3", queue_name=name)
    answer, when = record(queue)
    assert answer.id
    assert queue.engine.metrics.flush(20)
    queue.app.send_task("kaneda.tasks.celery.report", args=("old", "gauge", 1, None, None), queue=name)
    command = ["celery", "-A", "tallystick.compat.kaneda.tasks.celery", "worker", "-c", "1", "--without-mingle"]
    with worker(tmp_path, *command):
        until(lambda: stored.count_documents({}) == 4, tmp_path)
    stored_as_recorded(list(stored.find({"name": {"$ne": "old"}})), when)
    assert stored.find_one({"name": "answer_of_life"})["_id"] == answer.id
    queue.app.close()


def test_zeromq_carries_records_and_junk_does_not_end_its_worker(tmp_path: Path, place: tuple[str, Any]) -> None:
    _, stored = place
    url = f"tcp://127.0.0.1:{_free_port()}"
    queue = ZMQQueue(connection_url=url)
    with worker(tmp_path, "zmqworker", "--connection_url", url):
        queue.socket.poll(20_000, zmq.POLLOUT)
        queue.socket.send(b"junk")
        queue.socket.send(b'{"name": "old", "metric": "gauge", "value": 1, "tags": null, "id_": null}')
        _, when = record(queue)
        until(lambda: stored.count_documents({}) == 4, tmp_path)
    stored_as_recorded(list(stored.find({"name": {"$ne": "old"}})), when)
    lines = (tmp_path / "worker.log").read_text().splitlines()
    assert lines[:2] == [f"Running ZMQ worker - listening at {url}.", "Using MongoBackend."]
    queue.socket.close()


def test_the_zeromq_worker_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(["zmqworker"], cwd=tmp_path, capture_output=True, text=True, env=_path())
    assert done.returncode == 1
    assert "SettingsError" in done.stderr


def _path() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
