"""Records in OpenSearch 2 or 3.

The driver is `opensearch-py`, of which its connections are used: they carry ready bytes, and give back the status and
the headers of an answer, which the client above them drops.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

from tallystick.backends._http import limit_answers
from tallystick.backends._url import place, tls_context
from tallystick.backends.search.backend import SearchBackend
from tallystick.backends.search.http import JSON, Answer, Json, Wire
from tallystick.backends.search.tags import Pairs, TagStyle
from tallystick.backends.search.wire import Access, no_answer
from tallystick.errors import Misconfigured, SettingsError
from tallystick.plugins import missing_extra

_ANY_STATUS = range(300, 600)


class OpensearchBackend(SearchBackend):
    """`opensearch://host:9200/index`, `opensearch+https://user:password@host:9200,other-host:9200/index`.

    `client` may be an `OpenSearch` of opensearch-py, whatever signs its requests.
    """

    product: ClassVar[str] = "OpenSearch"
    scheme: ClassVar[str] = "opensearch"
    tags: ClassVar[TagStyle] = Pairs()

    def _connect(self) -> Wire:
        try:
            import opensearchpy
        except ImportError as error:
            raise missing_extra("opensearch", error) from error
        if self._client is None:
            transport, headers = _transport(opensearchpy, self._access), self._access.headers
        else:
            transport, headers = self._client.transport, dict
            if self._forked:
                kind = transport.connection_class
                transport = type(transport)(transport.hosts, connection_class=kind, **transport.kwargs)
        return _Connections(self.address, transport, headers, opensearchpy.TransportError, own=self._client is None)

    def _places_of(self, client: Any) -> str:
        transport: Any = getattr(client, "transport", None)
        if not hasattr(transport, "get_connection") or "Async" in type(client).__name__:
            raise SettingsError(
                f"client: {type(client).__module__}.{type(client).__qualname__} will not do; give an OpenSearch of"
                " opensearch-py"
            )
        return ",".join(place(c.hostname, c.port) for c in transport.connection_pool.connections)

    def _check_product(self, version: Json) -> None:
        if version.get("distribution") != "opensearch":
            raise Misconfigured(
                f"{self.address} is no OpenSearch but says that its version is {self.version}; for Elasticsearch write"
                " elasticsearch:// in the backend's URL"
            )
        if int(self.version.split(".")[0]) < 2:
            raise Misconfigured(f"{self.address} is OpenSearch {self.version}; it must be 2 or later")


def _transport(driver: Any, access: Access) -> Any:
    """Connections that keep to our timeouts. They never try again by themselves: that is the agent's affair."""
    hosts = [{"host": host, "port": port} for host, port in access.hosts]
    tls: dict[str, Any] = {}
    if access.tls is not None:
        tls = {"use_ssl": True, "ssl_context": tls_context(access.tls)}
        if access.tls["insecure_tls"]:  # whoever wrote that need not be told at each request
            warnings.filterwarnings("ignore", "Unverified HTTPS request")
    transport = driver.Transport(hosts, max_retries=0, pool_maxsize=4, **tls)
    for connection in transport.connection_pool.connections:
        limit_answers(connection.pool, access.connect_timeout_seconds)
    return transport


class _Connections:
    """The driver's connections. One carries each request; one that has failed lets the others go first for a while."""

    def __init__(
        self, address: str, transport: Any, headers: Callable[[], dict[str, str]], error: type[Exception], *, own: bool
    ) -> None:
        self._address = address
        self._transport = transport
        self._headers = headers
        self._error = error
        self._own = own

    def send(self, method: str, target: str, body: bytes | None, content_type: str, timeout_seconds: float) -> Answer:
        connection = self._transport.get_connection()
        about = {"accept": JSON, "content-type": content_type}
        try:
            status, given, raw = connection.perform_request(
                method,
                target,
                body=body,
                headers={**self._headers(), **about},
                timeout=timeout_seconds,
                ignore=_ANY_STATUS,
            )
        except self._error as error:
            self._transport.connection_pool.mark_dead(connection)
            raise no_answer(self._address, error) from None
        if status in (502, 503, 504):
            self._transport.connection_pool.mark_dead(connection)
        else:
            self._transport.connection_pool.mark_live(connection)
        return Answer(
            status, raw.encode("utf-8", "surrogatepass"), {name.lower(): value for name, value in given.items()}
        )

    def close(self) -> None:
        if self._own:
            self._transport.close()
