"""Elasticsearch against the contract and the promises of search backends, on real servers: 9, 8, and 7 thoroughly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import elasticsearch8
import pytest
from tests.contract.search import SearchContract, SearchFaults, SearchPromises
from tests.contract.search_access import SearchAccess
from tests.contract.search_crash import SearchCrash

from tallystick.backends.elasticsearch import ElasticsearchBackend


@pytest.mark.service("elasticsearch")
class TestElasticsearch9(SearchContract):
    server = "elasticsearch"
    kind = ElasticsearchBackend


@pytest.mark.service("elasticsearch8")
class TestElasticsearch8(SearchContract):
    server = "elasticsearch8"
    kind = ElasticsearchBackend


@pytest.mark.thorough
@pytest.mark.service("elasticsearch7")
class TestElasticsearch7(SearchContract):
    server = "elasticsearch7"
    kind = ElasticsearchBackend


@pytest.mark.service("elasticsearch")
class TestElasticsearch9Promises(SearchPromises):
    server = "elasticsearch"
    kind = ElasticsearchBackend


@pytest.mark.service("elasticsearch8")
class TestElasticsearch8Promises(SearchPromises):
    server = "elasticsearch8"
    kind = ElasticsearchBackend


@pytest.mark.thorough
@pytest.mark.service("elasticsearch7")
class TestElasticsearch7Promises(SearchPromises):
    server = "elasticsearch7"
    kind = ElasticsearchBackend


@pytest.mark.service("elasticsearch")
class TestElasticsearchAccess(SearchAccess):
    server = "elasticsearch"
    kind = ElasticsearchBackend

    def clients(self, url: str) -> Iterator[Any]:
        yield elasticsearch8.Elasticsearch(url)


@pytest.mark.service("elasticsearch")
class TestElasticsearchOnABadNetwork(SearchFaults):
    server = "elasticsearch"
    kind = ElasticsearchBackend


class TestElasticsearchCrash(SearchCrash):
    server = "elasticsearch"
    kind = ElasticsearchBackend
