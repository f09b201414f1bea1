"""OpenSearch against the contract and the promises of search backends, on real servers: 2, and 3 thoroughly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import opensearchpy
import pytest
from tests.contract.search import OfSearch, SearchContract, SearchFaults, seldom
from tests.contract.search_access import SearchAccess
from tests.contract.search_answers import SearchAnswers
from tests.contract.search_crash import SearchCrash
from tests.contract.search_queries import SearchQueries
from tests.contract.search_schema import SearchSchema
from tests.contract.search_verdicts import SearchVerdicts

from tallystick.backends.opensearch import OpensearchBackend


class OpensearchContract(SearchContract):
    kind: ClassVar[type[OpensearchBackend]] = OpensearchBackend


class Access(SearchAccess):
    def clients(self, url: str) -> Iterator[Any]:
        yield opensearchpy.OpenSearch(url)

    def works(self, client: Any) -> bool:
        return bool(client.info())


@pytest.mark.service("opensearch")
class Opensearch2(OfSearch):
    server = "opensearch"
    kind: ClassVar[type[OpensearchBackend]] = OpensearchBackend


class TestOpensearch2(Opensearch2, OpensearchContract): ...


class TestOpensearch2Verdicts(Opensearch2, SearchVerdicts): ...


class TestOpensearch2Queries(Opensearch2, SearchQueries): ...


class TestOpensearch2Schema(Opensearch2, SearchSchema): ...


class TestOpensearch2Answers(Opensearch2, SearchAnswers): ...


class TestOpensearch2Access(Opensearch2, Access): ...


class TestOpensearch2OnABadNetwork(Opensearch2, SearchFaults): ...


class TestOpensearch2Crash(Opensearch2, SearchCrash): ...


@seldom
@pytest.mark.service("opensearch3")
class Opensearch3(OfSearch):
    server = "opensearch3"
    kind: ClassVar[type[OpensearchBackend]] = OpensearchBackend


class TestOpensearch3(Opensearch3, OpensearchContract): ...


class TestOpensearch3Verdicts(Opensearch3, SearchVerdicts): ...


class TestOpensearch3Queries(Opensearch3, SearchQueries): ...


class TestOpensearch3Schema(Opensearch3, SearchSchema): ...


class TestOpensearch3Answers(Opensearch3, SearchAnswers): ...


class TestOpensearch3Access(Opensearch3, Access): ...


class TestOpensearch3OnABadNetwork(Opensearch3, SearchFaults): ...


class TestOpensearch3Crash(Opensearch3, SearchCrash): ...
