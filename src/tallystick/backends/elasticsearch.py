"""Records in Elasticsearch 7.17, 8 or 9.

The driver is `elastic-transport`, the layer that all of Elastic's clients stand on and bring along: its nodes carry
ready bytes. The clients' own methods would ask a server for the client's version of the API, which another one refuses,
and their `helpers.bulk` hides which record failed why. What is asked here is the same in all versions, so whichever
client is installed serves them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from tallystick.backends._http import limit_answers
from tallystick.backends._url import place, tls_context
from tallystick.backends.search.backend import SearchBackend
from tallystick.backends.search.http import JSON, Answer, Json, Wire
from tallystick.backends.search.tags import Columns, TagStyle
from tallystick.backends.search.wire import Access, no_answer
from tallystick.errors import Misconfigured, SettingsError
from tallystick.plugins import missing_extra

OLDEST: Final = (7, 17)


class ElasticsearchBackend(SearchBackend):
    """`elasticsearch://host:9200/index`, `elasticsearch+https://user:password@host:9200,other-host:9200/index`.

    `client` may be an `Elasticsearch` of the packages elasticsearch8 or elasticsearch, of version 8 or later.
    """

    product: ClassVar[str] = "Elasticsearch"
    scheme: ClassVar[str] = "elasticsearch"
    tags: ClassVar[TagStyle] = Columns()

    def _connect(self) -> Wire:
        try:
            import elastic_transport
        except ImportError as error:
            raise missing_extra("elasticsearch", error) from error
        if self._client is None:
            pool, headers = _pool(elastic_transport, self._access), self._access.headers
        else:
            # A client adds its credentials to what its own methods send, and not in its nodes.
            pool, headers = self._client.transport.node_pool, lambda: dict(self._client._headers)
            if self._forked:
                nodes = pool.all()
                configs = [node.config for node in nodes]
                pool = elastic_transport.Transport(configs, node_class=type(nodes[0])).node_pool
        return _Nodes(self.address, pool, headers, elastic_transport.TransportError, own=self._client is None)

    def _places_of(self, client: Any) -> str:
        transport: Any = getattr(client, "transport", None)
        if not hasattr(transport, "node_pool") or "Async" in type(client).__name__:
            raise SettingsError(
                f"client: {type(client).__module__}.{type(client).__qualname__} will not do; give an Elasticsearch of"
                " elasticsearch8, or of elasticsearch 8 or later"
            )
        return ",".join(place(node.host, node.port) for node in transport.node_pool.all())

    def _check_product(self, version: Json) -> None:
        if version.get("distribution") == "opensearch":
            raise Misconfigured(
                f"{self.address} is OpenSearch {self.version}; write opensearch:// in the backend's URL"
            )
        if tuple(int(part) for part in self.version.split(".")[:2]) < OLDEST:
            raise Misconfigured(f"{self.address} is Elasticsearch {self.version}; it must be 7.17 or later")


def _pool(driver: Any, access: Access) -> Any:
    """Nodes that keep to our timeouts. They never try again by themselves: that is the agent's affair."""
    config: dict[str, Any] = {"scheme": "http"}
    if access.tls is not None:
        config = {
            "scheme": "https",
            "ssl_context": tls_context(access.tls),
            "verify_certs": not access.tls["insecure_tls"],
            "ssl_show_warn": False,
        }
    nodes = [driver.NodeConfig(host=host, port=port, **config) for host, port in access.hosts]
    pool = driver.Transport(nodes, max_retries=0, meta_header=False).node_pool
    for node in pool.all():
        limit_answers(node.pool, access.connect_timeout_seconds)
        node.pool.ca_certs = None  # else the driver's own list of authorities is trusted beside the context's
    return pool


class _Nodes:
    """The driver's nodes. One carries each request; one that has failed lets the others go first for a while."""

    def __init__(
        self, address: str, pool: Any, headers: Callable[[], dict[str, str]], error: type[Exception], *, own: bool
    ) -> None:
        self._address = address
        self._pool = pool
        self._headers = headers
        self._error = error
        self._own = own

    def send(self, method: str, target: str, body: bytes | None, content_type: str, timeout_seconds: float) -> Answer:
        node = self._pool.get()
        about = {"accept": JSON, "content-type": content_type}
        try:
            meta, raw = node.perform_request(
                method, target, body=body, headers={**self._headers(), **about}, request_timeout=timeout_seconds
            )
        except self._error as error:
            self._pool.mark_dead(node)
            raise no_answer(self._address, error) from None
        if meta.status in (502, 503, 504):
            self._pool.mark_dead(node)
        else:
            self._pool.mark_live(node)
        return Answer(meta.status, raw, {name.lower(): value for name, value in meta.headers.items()})

    def close(self) -> None:
        if self._own:
            for node in self._pool.all():
                node.close()
