"""Elasticsearch against the contract, on real servers: 9 and 8, and with --thorough 7."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import ClassVar

import pytest
from tests.services import service

from tallystick.backends._search import SearchBackend
from tallystick.backends.base import Backend
from tallystick.backends.elasticsearch import ElasticsearchBackend
from tallystick.testing import BackendContract

_numbers = itertools.count()


class SearchContract(BackendContract):
    """What both engines relax: see their how-to pages."""

    server: ClassVar[str]
    kind: ClassVar[type[SearchBackend]]
    percentile_error = 0.01
    holds_before_1970 = False

    def make_backend(self, tmp_path: Path) -> Backend:
        return self.kind(service(self.server).removeprefix("http://"), index=new_index())

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, SearchBackend)
        return self.kind(service(self.server).removeprefix("http://"), index=backend.index)

    def settle(self, backend: Backend) -> None:
        refresh(backend)

    def tear_down(self, backend: Backend) -> None:
        remove(backend)


def new_index() -> str:
    return f"contract-{os.getpid()}-{next(_numbers)}"


def refresh(backend: Backend) -> None:
    assert isinstance(backend, SearchBackend)
    server = backend._opened()
    server.ask("POST", f"/{backend.index}-*/_refresh?ignore_unavailable=true")


def remove(backend: Backend) -> None:
    """Every index of the prefix, in small lots since their names stand in a URL, and the template."""
    assert isinstance(backend, SearchBackend)
    server = backend._opened(setup=False)
    found = list(server.ask("GET", f"/{backend.index}-*/_settings?filter_path=*.settings.index.uuid") or ())
    for start in range(0, len(found), 50):
        server.ask("DELETE", "/" + ",".join(found[start : start + 50]))
    server.ask("DELETE", f"/_index_template/{backend.index}")
    backend.close()


@pytest.mark.service("elasticsearch")
class TestElasticsearch9(SearchContract):
    server = "elasticsearch"
    kind = ElasticsearchBackend
