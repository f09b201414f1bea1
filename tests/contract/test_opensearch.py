"""OpenSearch against the contract, on real servers: 2, and with --thorough 3."""

from __future__ import annotations

import pytest
from tests.contract.test_elasticsearch import SearchContract

from tallystick.backends.opensearch import OpensearchBackend


@pytest.mark.service("opensearch")
class TestOpensearch2(SearchContract):
    server = "opensearch"
    kind = OpensearchBackend
