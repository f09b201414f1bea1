"""MongoDB against the contract, on two real servers of its protocol."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pymongo
import pytest
from tests.contract.faults import CrashContract, FaultContract
from tests.services import service

from tallystick.backends.base import Backend, Foreign
from tallystick.backends.mongodb import MongodbBackend
from tallystick.errors import QueryError
from tallystick.queries import Query
from tallystick.testing import BackendContract, counters, make_batch
from tallystick.testing.hostile import HOSTILE

_numbers = itertools.count()


def new_url(url: str) -> str:
    """A database of our own."""
    return f"{url}/contract_{os.getpid()}_{next(_numbers)}"


def drop(backend: Any) -> None:
    backend.open()
    backend._client.drop_database(backend._database)


class MongodbContract(BackendContract):
    server: str

    def make_backend(self, tmp_path: Path) -> Backend:
        return MongodbBackend.from_url(f"{new_url(service(self.server))}?timeout_seconds=60")  # it is Python, and slow

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, MongodbBackend)
        return MongodbBackend(backend._url)

    def tear_down(self, backend: Backend) -> None:
        drop(backend)
        backend.close()


@pytest.mark.service("mongodb")
class TestMongodb(MongodbContract):
    server = "mongodb"


@pytest.mark.service("mongodb-java")
class TestMongodbJava(MongodbContract):
    server = "mongodb-java"
    # This server evaluates what an expression gave once more, so a stored text such as "$where" becomes a path for it.
    hostile_texts = tuple(text for text in HOSTILE if not text.startswith("$"))


@pytest.mark.service("mongodb")
class TestMongodbOnABadNetwork(FaultContract):
    server = "mongodb"

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        url = new_url(f"mongodb://127.0.0.1:{port}")
        return MongodbBackend.from_url(f"{url}?timeout_seconds={timeout_seconds}&directConnection=true")

    def tear_down(self, backend: Backend) -> None:
        drop(backend)


class TestMongodbCrash(CrashContract):
    server = "mongodb"

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        url = new_url(f"mongodb://127.0.0.1:{port}")
        return MongodbBackend.from_url(f"{url}?timeout_seconds={timeout_seconds}&directConnection=true")


@pytest.mark.service("mongodb")
def test_a_mistake_in_a_foreign_question_is_told_in_the_servers_sentence() -> None:
    backend = MongodbBackend.from_url(new_url(service("mongodb")))
    backend.write(make_batch(*counters(3)))
    foreign = Foreign(source=backend._collection_name, time="timestamp_ns", value="$where", time_unit="ns")
    with pytest.raises(QueryError, match=r"\$where is not allowed[^,{]*; correct the source, or its columns$"):
        backend.query_foreign(Query(), foreign)
    drop(backend)
    backend.close()


def test_a_ready_client_is_used_and_left_open() -> None:
    url = new_url(service("mongodb"))
    with pymongo.MongoClient(url) as client:  # type: ignore[var-annotated]
        backend = MongodbBackend(client=client, database=url.rpartition("/")[2])
        backend.open()
        backend.close()
        client.admin.command("ping")
        client.drop_database(url.rpartition("/")[2])
