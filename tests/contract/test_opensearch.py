"""OpenSearch against the contract and the promises of search backends, on real servers: 2, and 3 thoroughly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import opensearchpy
import pytest
from tests.contract.search import SearchContract, SearchFaults, SearchPromises
from tests.contract.search_access import SearchAccess
from tests.contract.search_crash import SearchCrash

from tallystick.backends.opensearch import OpensearchBackend


@pytest.mark.service("opensearch")
class TestOpensearch2(SearchContract):
    server = "opensearch"
    kind = OpensearchBackend


@pytest.mark.thorough
@pytest.mark.service("opensearch3")
class TestOpensearch3(SearchContract):
    server = "opensearch3"
    kind = OpensearchBackend


@pytest.mark.service("opensearch")
class TestOpensearch2Promises(SearchPromises):
    server = "opensearch"
    kind = OpensearchBackend


@pytest.mark.thorough
@pytest.mark.service("opensearch3")
class TestOpensearch3Promises(SearchPromises):
    server = "opensearch3"
    kind = OpensearchBackend


@pytest.mark.service("opensearch")
class TestOpensearchAccess(SearchAccess):
    server = "opensearch"
    kind = OpensearchBackend

    def clients(self, url: str) -> Iterator[Any]:
        yield opensearchpy.OpenSearch(url)


@pytest.mark.service("opensearch")
class TestOpensearchOnABadNetwork(SearchFaults):
    server = "opensearch"
    kind = OpensearchBackend


class TestOpensearchCrash(SearchCrash):
    server = "opensearch"
    kind = OpensearchBackend
