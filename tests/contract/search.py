"""What the tests of Elasticsearch and OpenSearch share, and both engines against the contract, on real servers."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.contract.faults import TIMEOUT_SECONDS, FaultContract, numbered, write_once, write_until_stored
from tests.proxy import FaultProxy
from tests.services import service

from tallystick.backends.base import ACCEPTED, Backend
from tallystick.backends.memory import answer
from tallystick.backends.search.backend import SearchBackend
from tallystick.errors import Unavailable
from tallystick.queries import Query
from tallystick.records import Batch, Record
from tallystick.testing import BackendContract, make_batch

DAY = "2025.06.15"
"""Of `at(0)`."""
DAY_SECONDS = 86_400

_numbers = itertools.count()


def seldom(cls: type) -> type:
    """A server for thorough runs, and for the run that writes the table of the documentation."""
    return cls if "TALLYSTICK_CONTRACT_TABLE" in os.environ else pytest.mark.thorough(cls)


def new_index() -> str:
    return f"contract-{os.getpid()}-{next(_numbers)}"


def ask(backend: Backend, method: str, target: str, body: Any = None) -> Any:
    assert isinstance(backend, SearchBackend)
    return backend._opened(setup=False).ask(method, target, body)


def refresh(backend: Backend) -> None:
    assert isinstance(backend, SearchBackend)
    ask(backend, "POST", f"/{backend.index}-*/_refresh?ignore_unavailable=true")


def remove(backend: Backend) -> None:
    """Every index of the prefix, in small lots since their names stand in a URL, and the template."""
    assert isinstance(backend, SearchBackend)
    settings = "_settings?expand_wildcards=open,closed&filter_path=*.settings.index.uuid"
    found = list(ask(backend, "GET", f"/{backend.index}*/{settings}") or ())
    for start in range(0, len(found), 50):
        ask(backend, "DELETE", "/" + ",".join(found[start : start + 50]))
    ask(backend, "DELETE", f"/_index_template/{backend.index}")
    backend.close()


class OfSearch:
    """Where the server is, and which backend speaks to it."""

    server: ClassVar[str]
    kind: ClassVar[type[SearchBackend]]

    def make(self, index: str | None = None, **options: Any) -> SearchBackend:
        return self.kind(service(self.server).removeprefix("http://"), index=index or new_index(), **options)


class SearchContract(OfSearch, BackendContract):
    """What both engines relax: they estimate percentiles, and hold the years 1970 to 2262. See their how-to pages."""

    percentile_error = 0.01
    holds_before_1970 = False

    def make_backend(self, tmp_path: Path) -> Backend:
        return self.make()

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, SearchBackend)
        return self.make(backend.index)

    def settle(self, backend: Backend) -> None:
        refresh(backend)

    def tear_down(self, backend: Backend) -> None:
        remove(backend)


class SearchFaults(OfSearch, FaultContract):
    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        return self.kind(f"127.0.0.1:{port}", index=new_index(), timeout_seconds=timeout_seconds)

    def settle(self, backend: Backend) -> None:
        refresh(backend)

    def tear_down(self, backend: Backend) -> None:
        remove(backend)

    def test_an_answer_that_trickles_in_is_noticed_within_twice_the_timeout(
        self, backend: Backend, proxy: FaultProxy
    ) -> None:
        batch = numbered(3)
        proxy.set_mode("trickle")
        for _ in range(2):  # on the connection that was open, then on a new one
            began = time.monotonic()
            with pytest.raises(Unavailable, match="answer"):
                write_once(backend, batch)
            assert time.monotonic() - began < 2 * TIMEOUT_SECONDS + 0.5
        proxy.set_mode("pass")
        write_until_stored(backend, batch)
        self.check_stored(backend, batch)


class SearchStore(OfSearch):
    """An open backend on an empty store."""

    @pytest.fixture
    def backend(self) -> Iterator[SearchBackend]:
        backend = self.make()
        backend.open()
        yield backend
        remove(backend)

    def ids(self, backend: SearchBackend, query: Query | None = None) -> list[str]:
        refresh(backend)
        return sorted(record.id for record in backend.records(query or Query()))

    def make_index(self, backend: SearchBackend, day: str = DAY, **body: Any) -> str:
        name = f"{backend.index}-{day}"
        ask(backend, "PUT", f"/{name}", body)
        return name

    def check_answers(self, backend: SearchBackend, records: list[Record], query: Query) -> None:
        """The store's answer is the oracle's."""
        batch = make_batch(*records, segment="one", start=100)
        assert backend.write(batch) == ACCEPTED
        refresh(backend)
        same(backend.query(query), answer(batch.records, query), query)


def same(given: list[Any], wanted: list[Any], query: Query) -> None:
    assert [(s.name, s.unit, s.tags) for s in given] == [(s.name, s.unit, s.tags) for s in wanted], query
    for one, other in zip(given, wanted, strict=True):
        assert one.points == [pytest.approx(point, rel=1e-9) for point in other.points], query


def in_batches(records: list[Record], size: int = 5_000) -> Iterator[Batch]:
    for start in range(0, len(records), size):
        yield make_batch(*records[start : start + size])
