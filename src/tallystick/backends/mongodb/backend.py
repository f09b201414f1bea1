"""Records in MongoDB, one document each.

What it keeps
- A record's id is the document's `_id`, so what is sent again is refused as a duplicate, which means delivered. A
  record with an id of the caller's own replaces the document of that id unless that one is newer.
- `write` returns after a majority has journalled (`w: majority, j: true`).
- Every call has its own time limit; the driver retries nothing, the agent does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tallystick.backends import shapes
from tallystick.backends._url import OPTIONS, ServerUrl, read_url
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.mongodb import care, writing
from tallystick.backends.mongodb import query as queries
from tallystick.backends.mongodb.connection import NOT_ALLOWED, connect, driver, short, translated
from tallystick.backends.mongodb.shape import Native
from tallystick.backends.shapes import Documents
from tallystick.errors import Misconfigured, QueryError, SettingsError, Unavailable
from tallystick.moments import nanoseconds
from tallystick.processes import PerProcess
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

LOOK_SECONDS: Final = 60.0
"""How often the indexes are looked for. The server makes a collection that somebody dropped again, but not these, and
says nothing."""

_OURS: Final = {"collection": str, "ttl_days": int, "shape": str}


class MongodbBackend:
    """`mongodb://user:password@host:27017/database?collection=tallystick`, also `mongodb+srv://`.

    `client` is a ready `pymongo.MongoClient`; `shape` is the form of the documents (`backends/shapes.py`). Our options:
    `collection`, `shape`, `ttl_days` (documents leave that long after their own time, by a TTL index),
    `timeout_seconds`, `connect_timeout_seconds`, `setup`, `password_env`,
    `password_file`, `ca_file`, `cert_file` (with its key), `insecure_tls`, `allow_plain_credentials`; all others
    (`replicaSet`, `tls`, `authSource`, …) go to the driver.
    """

    inline: ClassVar[bool] = False

    def __init__(
        self,
        url: ServerUrl | None = None,
        *,
        client: Any = None,
        database: str = "tallystick",
        collection: str = "tallystick",
        driver_options: dict[str, str] | None = None,
        shape: Documents | None = None,
    ) -> None:
        if (url is None) == (client is None):
            raise SettingsError("backend: MongodbBackend takes either a url or a client")
        self._url = url
        self._options: dict[str, Any] = {} if url is None else url.options
        self._driver_options = driver_options or {}
        self._given = client
        self._database = (url.name if url is not None else "") or database
        self._collection_name: str = self._options.get("collection", collection)
        named = shapes.built(self._options.get("shape"), "mongodb", self._collection_name)
        self._shape: Documents = shape or named or Native()
        self._native = self._shape if isinstance(self._shape, Native) else Native()
        self._held: PerProcess[Any] = PerProcess(_close, given=client)
        self._ready = False
        self._looked = -LOOK_SECONDS

    @classmethod
    def from_url(cls, url: str) -> Self:
        parts = urlsplit(url)
        known = {*OPTIONS, *_OURS, "password_env", "password_file"}
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        ours = urlencode([(key, text) for key, text in pairs if key in known])
        theirs = {key: text for key, text in pairs if key not in known}
        given = dict(pairs)
        said = {given.get(key, "no").lower() for key in ("tls", "ssl", "insecure_tls")}
        tls = bool({"ca_file", "cert_file"} & given.keys() or {"true", "yes", "1", "on"} & said)
        tls = tls or parts.scheme == "mongodb+srv"
        read = read_url(urlunsplit(parts._replace(query=ours)), default_port=27017, tls=tls, options=_OURS)
        if "key_file" in read.options:
            raise SettingsError("backend: MongoDB's driver takes certificate and key in one PEM file, as cert_file")
        return cls(read, driver_options=theirs)

    @property
    def address(self) -> str:
        place = "client" if self._url is None else ",".join(self._url.places)
        scheme = "mongodb" if self._url is None else self._url.scheme
        if self._given is not None:
            place = ",".join(f"{host}:{port}" for host, port in sorted(self._given.nodes)) or "client"
        what = shapes.suffix(self._shape, "&")
        return f"{scheme}://{place}/{self._database}?collection={self._collection_name}{what}"

    def __repr__(self) -> str:
        return f"MongodbBackend({self.address!r})"

    # --- connecting ---

    def open(self) -> None:
        lately = time.monotonic() - self._looked < LOOK_SECONDS
        if self._client is not None and self._ready and lately:
            return
        self._connect()
        with self._translated():
            if (self._ready and lately) or not self._options.get("setup", True):
                self._client.admin.command("ping")
            else:
                self._ensure()
                self._looked = time.monotonic()
        self._ready = True

    def _ensure(self) -> list[str]:
        ttl_days = self._options.get("ttl_days", 0)
        try:
            return care.ensure(self._client[self._database], self._collection_name, ttl_days, self._shape.indexes)
        except driver().errors.OperationFailure as error:
            if error.code != NOT_ALLOWED:
                raise
            script = care.script(self._database, self._collection_name, ttl_days)
            raise Misconfigured(
                f"{self.address}: {error.details.get('errmsg') if error.details else error}; grant this user the role"
                f" readWrite, or let an administrator run this and add setup=no to the URL:\n{script}"
            ) from error

    def _connect(self) -> None:
        """Have a client of this process, which connects when it is first used; a parent's is left to it."""
        if self._client is None:
            given = self._given
            self._held.put(connect(self._url, self._driver_options, self.address) if given is None else given)

    def _collection(self, name: str) -> Any:
        durable = driver().WriteConcern(w="majority", j=True)
        return self._client[self._database].get_collection(name, write_concern=durable)

    @property
    def _client(self) -> Any:
        return self._held.get()

    def close(self) -> None:
        self._held.close()

    # --- writing ---

    def write(self, batch: Batch) -> WriteResult:
        if not batch.records:
            return ACCEPTED
        self.open()

        def write(place: str, part: Batch) -> WriteResult:
            return writing.write(self._collection(place), part, self._shape, self.address)

        with self._translated():
            return shapes.by_place(batch, self._shape.place, self._collection_name, write)

    # --- asking ---

    def query(self, query: Query) -> list[Series]:
        if self._shape.foreign is not None:
            return self.query_foreign(query, self._shape.foreign.asked(query))
        self.open()
        return self._answer(self._collection_name, query, queries.native(query))

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        self._connect()  # and make no index in somebody else's database
        with self._translated():
            if foreign.source not in self._client[self._database].list_collection_names():
                raise QueryError(f"{self.address}: there is no collection {foreign.source!r} in {self._database!r}")
        try:
            return self._answer(foreign.source, query, queries.foreign(query, foreign))
        except driver().errors.OperationFailure as error:
            raise QueryError(f"{foreign.source}: {short(error)}; correct the source, or its columns") from error

    def _answer(self, collection: str, query: Query, start: queries.Pipeline) -> list[Series]:
        def aggregate(pipeline: queries.Pipeline) -> Iterable[dict[str, Any]]:
            found: list[dict[str, Any]] = list(
                self._client[self._database][collection].aggregate(pipeline, allowDiskUse=True)
            )
            return found

        with self._translated(asking=True):
            return queries.answer(aggregate, query, start)

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        if (record := getattr(self._shape, "record", None)) is not None and self._native is not self._shape:
            yield from shapes.read(self._foreign_records(record), query, newest)
            return
        self.open()
        order = 1 if newest is None else -1
        with self._translated():
            cursor = self._collection(self._collection_name).find(queries.fits(query))
            cursor = cursor.sort([("timestamp_ns", order), ("segment", order), ("place", order)])
            found: Iterable[dict[str, Any]] = cursor.allow_disk_use(True)
            if newest is not None:
                found = reversed(list(cursor.limit(newest))) if newest else []
            for document in found:
                yield self._native.record(document)

    def _foreign_records(self, record: Any) -> Iterator[Record]:
        self._connect()  # and make no index in somebody else's database
        with self._translated():
            found = self._collection(self._collection_name).find().sort([(self._shape.age, 1), ("_id", 1)])
            for document in found.allow_disk_use(True):
                yield record(document, self._collection_name)

    # --- looking after it ---

    def setup(self) -> list[str]:
        with self._opened():
            return self._ensure()

    def check(self) -> list[Line]:
        with self._opened() as database:
            return [Line(ok=True, what=self.address), *care.check(database[self._collection_name], self._shape.indexes)]

    def indices(self) -> list[dict[str, Any]]:
        with self._opened() as database:
            return [care.size(database, self._collection_name)]

    def prune(self, before: float) -> int:
        with self._opened() as database:
            return care.prune(database[self._collection_name], nanoseconds(before, "before"))

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        self.open()
        with self._translated():
            yield self._client[self._database]

    @contextmanager
    def _translated(self, *, asking: bool = False) -> Iterator[None]:
        try:
            with translated(self.address, asking=asking):
                yield
        except Unavailable:
            self.close()  # the next `open` makes a new client
            raise


def _close(client: Any) -> None:
    client.close()
