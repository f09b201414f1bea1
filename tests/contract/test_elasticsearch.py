"""Elasticsearch against the contract and the promises of search backends, on real servers: 9, 8, and 7 thoroughly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import elasticsearch
import elasticsearch8
import pytest
from tests.contract.search import OfSearch, SearchContract, SearchFaults, seldom
from tests.contract.search_access import SearchAccess
from tests.contract.search_answers import SearchAnswers
from tests.contract.search_crash import SearchCrash
from tests.contract.search_queries import SearchQueries
from tests.contract.search_schema import SearchSchema
from tests.contract.search_verdicts import SearchVerdicts

from tallystick.backends.elasticsearch import ElasticsearchBackend


class ElasticsearchContract(SearchContract):
    kind: ClassVar[type[ElasticsearchBackend]] = ElasticsearchBackend


class Access(SearchAccess):
    def clients(self, url: str) -> Iterator[Any]:
        yield elasticsearch8.Elasticsearch(url)
        yield elasticsearch.Elasticsearch(url)

    def works(self, client: Any) -> bool:
        """Their own methods ask for their own version of the API, which another server refuses."""
        return bool(client.transport.perform_request("GET", "/", headers={"accept": "application/json"}).body)


@pytest.mark.service("elasticsearch")
class Elasticsearch9(OfSearch):
    server = "elasticsearch"
    kind: ClassVar[type[ElasticsearchBackend]] = ElasticsearchBackend


class TestElasticsearch9(Elasticsearch9, ElasticsearchContract): ...


class TestElasticsearch9Verdicts(Elasticsearch9, SearchVerdicts): ...


class TestElasticsearch9Queries(Elasticsearch9, SearchQueries): ...


class TestElasticsearch9Schema(Elasticsearch9, SearchSchema): ...


class TestElasticsearch9Answers(Elasticsearch9, SearchAnswers): ...


class TestElasticsearch9Access(Elasticsearch9, Access): ...


class TestElasticsearch9OnABadNetwork(Elasticsearch9, SearchFaults): ...


class TestElasticsearch9Crash(Elasticsearch9, SearchCrash): ...


@pytest.mark.service("elasticsearch8")
class Elasticsearch8(OfSearch):
    server = "elasticsearch8"
    kind: ClassVar[type[ElasticsearchBackend]] = ElasticsearchBackend


class TestElasticsearch8(Elasticsearch8, ElasticsearchContract): ...


class TestElasticsearch8Verdicts(Elasticsearch8, SearchVerdicts): ...


class TestElasticsearch8Queries(Elasticsearch8, SearchQueries): ...


class TestElasticsearch8Schema(Elasticsearch8, SearchSchema): ...


class TestElasticsearch8Answers(Elasticsearch8, SearchAnswers): ...


class TestElasticsearch8Access(Elasticsearch8, Access): ...


class TestElasticsearch8OnABadNetwork(Elasticsearch8, SearchFaults): ...


class TestElasticsearch8Crash(Elasticsearch8, SearchCrash): ...


@seldom
@pytest.mark.service("elasticsearch7")
class Elasticsearch7(OfSearch):
    server = "elasticsearch7"
    kind: ClassVar[type[ElasticsearchBackend]] = ElasticsearchBackend


class TestElasticsearch7(Elasticsearch7, ElasticsearchContract): ...


class TestElasticsearch7Verdicts(Elasticsearch7, SearchVerdicts): ...


class TestElasticsearch7Queries(Elasticsearch7, SearchQueries): ...


class TestElasticsearch7Schema(Elasticsearch7, SearchSchema): ...


class TestElasticsearch7Answers(Elasticsearch7, SearchAnswers): ...


class TestElasticsearch7Access(Elasticsearch7, Access): ...


class TestElasticsearch7OnABadNetwork(Elasticsearch7, SearchFaults): ...


class TestElasticsearch7Crash(Elasticsearch7, SearchCrash): ...
