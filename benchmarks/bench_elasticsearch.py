"""Spool to Elasticsearch against the driver's bulk of ready-made bodies, and against one call a record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deliveries import server
from elasticsearch8 import Elasticsearch
from harness import Figure, Options, main
from search import Peer, figures

from tallystick.backends.elasticsearch import ElasticsearchBackend


def measure(options: Options) -> Iterator[Figure]:
    with server("elasticsearch") as url:
        client = Elasticsearch(url, max_retries=0)

        def bulk(index: str, body: bytes, parameters: dict[str, str]) -> bool:
            path = parameters.get("filter_path")
            answer: Any = client.bulk(index=index, body=body, **({"filter_path": path} if path else {}))
            return answer["errors"] is False

        def index_one(index: str, id_: str, document: dict[str, Any]) -> bool:
            return client.index(index=index, id=id_, document=document)["result"] == "created"

        peer = Peer("Elasticsearch", bulk, index_one)
        yield from figures(options, lambda index: ElasticsearchBackend(url.removeprefix("http://"), index=index), peer)
        client.close()


if __name__ == "__main__":
    main("spool to Elasticsearch", measure)
