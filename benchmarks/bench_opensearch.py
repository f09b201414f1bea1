"""Spool to OpenSearch against the driver's bulk of ready-made bodies, and against one call a record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deliveries import server
from harness import Figure, Options, main
from opensearchpy import OpenSearch
from search import Peer, figures

from tallystick.backends.opensearch import OpensearchBackend


def measure(options: Options) -> Iterator[Figure]:
    with server("opensearch") as url:
        client = OpenSearch(url, max_retries=0)

        def bulk(index: str, body: bytes, parameters: dict[str, str]) -> bool:
            answer: Any = client.bulk(index=index, body=body, params=dict(parameters))
            return answer["errors"] is False

        def index_one(index: str, id_: str, document: dict[str, Any]) -> bool:
            created: bool = client.index(index=index, id=id_, body=document)["result"] == "created"
            return created

        peer = Peer("OpenSearch", bulk, index_one)
        yield from figures(options, lambda index: OpensearchBackend(url.removeprefix("http://"), index=index), peer)
        client.close()


if __name__ == "__main__":
    main("spool to OpenSearch", measure)
