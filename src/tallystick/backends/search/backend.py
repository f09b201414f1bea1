"""Records in a search engine: what the backends for Elasticsearch and OpenSearch share.

What it keeps
- A batch is one bulk request, and each record's fate is read from its item in the answer. The request returns when
  every shard's log is on disk; nothing is refreshed for it, so records are found a second later.
- Nothing is accepted into an index that queries do not see: before each bulk request the server is asked whether the
  indices that it names have the alias, and after it again about those that were new.
- Two deliveries of a record, at whatever time and from wherever, are one document; see `shape.py`.
- A client's connections stay in the process that made them: after a fork the child makes its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

from tallystick.backends import shapes
from tallystick.backends._url import read_url
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.search import bulk
from tallystick.backends.search import query as queries
from tallystick.backends.search.foreign import fields_of, without_missing_kind
from tallystick.backends.search.http import Json, Refused, Server, Wire
from tallystick.backends.search.query import Fields, Search
from tallystick.backends.search.schema import Schema
from tallystick.backends.search.shape import NativeShape, Shape, record_of
from tallystick.backends.search.tags import TagStyle
from tallystick.backends.search.time import Time
from tallystick.backends.search.wire import PORT, access
from tallystick.errors import Misconfigured, QueryError, TooLarge, Unavailable
from tallystick.masking import Secret
from tallystick.processes import PerProcess
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

OPTIONS: Final[dict[str, type]] = {
    "api_key": Secret,
    "bearer_token": Secret,
    "query_timeout_seconds": float,
    "shape": str,
}
"""Of the URL, beside those of every server's."""

BODY_BYTES: Final = 10_000_000
"""The largest request made. Hosted services and proxies refuse more than that, some by hanging up in the middle."""

_PAGE: Final = 1_000


class SearchBackend(ABC):
    """`index` begins the names of the indices and is the alias that joins them. `client` is a ready client object of
    the driver; without one, `hosts` (`"host"`, `"host:9200"` or a list of these) and the rest say how to get there. An
    `api_key` is as the server gave it out, encoded or `id:key`. `setup=False` makes nothing on the server. A `shape`
    other than the native one decides about its documents and indices itself, and its template is its own affair.
    """

    inline: ClassVar[bool] = False
    product: ClassVar[str]
    scheme: ClassVar[str]
    tags: ClassVar[TagStyle]

    def __init__(
        self,
        hosts: str | Sequence[str] = "localhost",
        *,
        index: str = "tallystick",
        client: Any = None,
        shape: Shape | None = None,
        setup: bool = True,
        user: str | None = None,
        password: str | Secret | None = None,
        api_key: str | Secret | None = None,
        bearer_token: str | Secret | None = None,
        tls: bool = False,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        insecure_tls: bool = False,
        allow_plain_credentials: bool = False,
        timeout_seconds: float = 10.0,
        connect_timeout_seconds: float = 5.0,
        query_timeout_seconds: float = 60.0,
    ) -> None:
        self._native = NativeShape(index, self.tags)
        self.index = index
        self.shape: Shape = shape or self._native
        self.timeout_seconds = timeout_seconds
        self.query_timeout_seconds = query_timeout_seconds
        self.version = ""
        encryption = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file, "insecure_tls": insecure_tls}
        self._access = access(
            hosts,
            user=user,
            password=password,
            api_key=api_key,
            bearer_token=bearer_token,
            tls=encryption if tls else None,
            allow_plain_credentials=allow_plain_credentials,
            timeout_seconds=timeout_seconds,
            connect_timeout_seconds=connect_timeout_seconds,
        )
        self._client = client
        self._places = self._access.places if client is None else self._places_of(client)
        self._setup = setup and shape is None
        self._may_make = setup
        self._schema = Schema(index, self.tags)
        self._held = PerProcess(Server.close)
        self._made_here = PerProcess(bool)
        self._made_here.put(True)
        self._met = self._ready = False

    @classmethod
    def from_url(cls, url: str) -> Self:
        """`scheme://user:password@host:9200,other:9200/index?option=value`, with `+https` after the scheme for TLS."""
        tls = url.partition("://")[0].endswith("+https")
        read = read_url(url, default_port=PORT, tls=tls, options=OPTIONS)
        more: dict[str, Any] = {**read.options, **({"index": read.name} if read.name else {})}
        more["shape"] = shapes.built(read.options.get("shape"), cls.scheme, read.name or "tallystick")
        return cls(read.places, user=read.user, password=read.password, tls=tls, **more)

    @property
    def address(self) -> str:
        return f"{self.scheme}{'' if self._access.tls is None else '+https'}://{self._places}/{self.index}{shapes.suffix(self.shape)}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    # --- what the two engines differ in -------------------------------------------------------------------------------

    @abstractmethod
    def _connect(self) -> Wire:
        """Connections of this process's own; nothing is sent yet. Raises `MissingExtra` without the driver."""

    @abstractmethod
    def _places_of(self, client: Any) -> str:
        """The hosts that a client was given. Raises `SettingsError` for an object that is no such client."""

    @abstractmethod
    def _check_product(self, version: Json) -> None:
        """Raises `Misconfigured` for a server that this backend does not know, by what it says of its version."""

    @property
    def _forked(self) -> bool:
        """Whether a client that was handed in belongs to another process."""
        return self._made_here.get() is None

    # --- the contract -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        self._opened()

    def write(self, batch: Batch) -> WriteResult:
        index, lines, sent, refused = self.shape.lines(batch)
        if not lines:
            return WriteResult(refused) if refused else ACCEPTED
        body = "".join(lines).encode()
        if len(body) > BODY_BYTES and len(sent) > 1:
            raise TooLarge(f"{len(sent)} records make a request of {len(body)} bytes, more than {BODY_BYTES}")
        server = self._opened()
        native = self.shape is self._native
        targets = self._native.indices(batch) if native else set()
        if (prepare := getattr(self.shape, "prepare", None)) is not None and self._may_make:
            prepare(server.ask, batch)
        new = native and self._schema.prepare(server, targets, mend=self._setup)
        # The server gives up on a shard before we give up on the server, so that it still tells about the others.
        wait = f"timeout={round(self.timeout_seconds * 800)}ms"
        answer = server.bulk(f"/{quote(index)}/_bulk?{wait}&{bulk.PARAMETERS}", body)
        result = bulk.verdicts(answer, sent, self.address)
        if new:
            self._schema.refuse_unseen(server, targets)
        result = self._again(batch, result)
        if not refused:
            return result
        return WriteResult({**refused, **result.rejected}, result.kept, result.retry_after_seconds)

    def _again(self, batch: Batch, result: WriteResult) -> WriteResult:
        """What a shape that learns from refusals makes of them."""
        learn = getattr(self.shape, "learn", None)
        if learn is None or not [index for index, why in result.rejected.items() if learn(batch.records[index], why)]:
            return result
        again = sorted(result.rejected)
        second = self.write(batch.only(again))
        kept = {**result.kept, **{again[index]: why for index, why in second.kept.items()}}
        rejected = {again[index]: why for index, why in second.rejected.items()}
        return WriteResult(rejected, kept, second.retry_after_seconds or result.retry_after_seconds)

    def query(self, query: Query) -> list[Series]:
        if self.shape.foreign is not None:
            foreign = self.shape.foreign.asked(query)
            return self.query_foreign(query, without_missing_kind(self._opened(), foreign))
        time = Time()
        fields = Fields(time, "value", self.tags, name="name", kind="kind", unit="unit", weight="weight")
        return self._ask(query, fields, self._search(self.index))

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        fields = fields_of(self._opened(), foreign)
        return self._ask(query, fields, self._search(foreign.source))

    def _ask(self, query: Query, fields: Fields, search: Search) -> list[Series]:
        try:
            return queries.answer(search, query, fields)
        except Refused as error:
            raise QueryError(str(error)) from None

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        fields = Fields(Time(), "value", self.tags, name="name", kind="kind", unit="unit", weight="weight")
        fitting = queries.filters(query, fields, query.start_ns, query.end_ns)
        if fitting is None or newest == 0:
            return
        if (record := getattr(self.shape, "record", None)) is not None:
            yield from shapes.read(map(record, self._hits(self.shape.foreign)), query, newest)
            return
        body: Json = {"query": {"bool": {"filter": fitting}}}
        if newest is None:
            yield from self._pages(body, "asc")
        else:
            found = self._pages(body, "desc")
            yield from reversed([record for _, record in zip(range(newest), found, strict=False)])

    def _hits(self, foreign: Foreign | None) -> Iterator[Json]:
        """All documents of a shape's indices, oldest first."""
        server = self._opened()
        source, order = (self.index, "_doc") if foreign is None else (foreign.source, foreign.time)
        target = f"/{quote(source, safe=',*')}/_search?scroll=2m&ignore_unavailable=true"
        found = server.ask("POST", target, {"size": _PAGE, "sort": [order]})
        while hits := found["hits"]["hits"]:
            yield from hits
            more = {"scroll": "2m", "scroll_id": found["_scroll_id"]}
            found = server.ask("POST", "/_search/scroll", more, timeout_seconds=self.query_timeout_seconds)
        server.ask("DELETE", "/_search/scroll", {"scroll_id": [found["_scroll_id"]]})

    def _pages(self, body: Json, order: str) -> Iterator[Record]:
        """The records that fit, page by page; their order is total, so each page begins after the last one's end."""
        search = self._search(self.index)
        body = {
            **body,
            "size": _PAGE,
            "sort": [{field: {"order": order}} for field in ("@timestamp", "segment", "offset")],
        }
        while True:
            hits = search(body)["hits"]["hits"]
            for hit in hits:
                yield record_of(hit["_source"])
            if len(hits) < _PAGE:
                return
            body["search_after"] = hits[-1]["sort"]

    def close(self) -> None:
        self._held.close()

    # --- care ---------------------------------------------------------------------------------------------------------

    def setup(self) -> list[str]:
        server = self._opened(setup=False)
        return self._schema.ensure_template(server) + self._schema.mend_indices(server)

    def check(self) -> list[Line]:
        server = self._opened(setup=False)
        return [Line(ok=True, what=f"{self.product} {self.version} answers"), *self._schema.check(server)]

    def indices(self) -> list[dict[str, Any]]:
        return self._schema.indices(self._opened())

    def prune(self, before: float) -> int:
        return self._schema.prune(self._opened(), before, self.query_timeout_seconds)

    # --- the connection -----------------------------------------------------------------------------------------------

    def _opened(self, *, setup: bool | None = None) -> Server:
        """The server, asked for what it is and set up when this process meets it for the first time.

        Connections stay when that fails, since they know which hosts have failed.
        """
        server = self._held.get()
        if server is None:
            server = self._held.put(Server(self._connect(), self.address, self.timeout_seconds))
            self._met = self._ready = False
        if not self._met:
            info = server.ask("GET", "/")
            if not isinstance(info, dict) or not isinstance(info.get("version"), dict):
                raise Misconfigured(f"{self.address} answers, but not as {self.product} does; check host and port")
            self.version = str(info["version"].get("number", ""))
            self._check_product(info["version"])
            self._met = True
        if not self._ready and (self._setup if setup is None else setup):
            self._schema.ensure_template(server)
            self._ready = True
        return server

    def _search(self, source: str) -> Search:
        server = self._opened()
        target = f"/{quote(source, safe=',*')}/_search?allow_partial_search_results=false&ignore_unavailable=true"

        def search(body: Json) -> Json:
            found: Json = server.ask("POST", target, body, timeout_seconds=self.query_timeout_seconds)
            if found.get("timed_out"):
                raise Unavailable(f"{self.address} ended a query before its time: the answer is not whole")
            return found

        return search
