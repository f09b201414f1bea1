"""Records in InfluxDB 1 and 2, by line protocol over HTTP.

What it keeps
- A record is one point, the same whenever and by whomever it is sent (`lines.py`): sending again adds nothing.
- Each record gets its own verdict, also where the server names no line (`verdicts.py`).
- Records with ids of the caller's are one point an id once their writers have returned (`ids.py`).
- A question goes through a connection of its own, so it may come from any thread; nothing crosses a fork.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, ClassVar, Final, Self

from tallystick.backends import shapes
from tallystick.backends._url import ServerUrl, read_url
from tallystick.backends.base import ACCEPTED, Foreign, Line, WriteResult
from tallystick.backends.influxdb import care
from tallystick.backends.influxdb import query as queries
from tallystick.backends.influxdb import read as reading
from tallystick.backends.influxdb.foreign import answer_foreign
from tallystick.backends.influxdb.ids import delete_older, superseded
from tallystick.backends.influxdb.influxql import InfluxqlServer
from tallystick.backends.influxdb.lines import Native, Shape
from tallystick.backends.influxdb.servers import Server1, Server2
from tallystick.backends.influxdb.verdicts import add, refused_lines, whole_requests
from tallystick.backends.memory import answer
from tallystick.errors import Misconfigured, SettingsError
from tallystick.masking import Secret
from tallystick.moments import nanoseconds
from tallystick.processes import PerProcess
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record

_SERVERS: Final[dict[str, type[InfluxqlServer]]] = {"influxdb": Server1, "influxdb2": Server2}
_OPTIONS: Final[dict[str, type]] = {"gzip": bool, "retention_days": float, "writers": int, "shape": str}
_OPTIONS_OF: Final[dict[str, dict[str, type]]] = {
    "influxdb": {"retention_policy": str},
    "influxdb2": {"org": str, "token": Secret},
}


class InfluxdbBackend:
    """`influxdb://user:password@host:8086/database`, `influxdb2://host:8086/bucket?org=…&token_env=…`; each also with
    `+https` after the scheme.

    Options of the URL: `retention_policy` (1), `org`, `token_env`, `token_file` (2), `retention_days` (of what is
    created), `writers` (see `lines.Native`), `shape` (see `backends/shapes.py`),
    `gzip` (default: to other hosts only), `timeout_seconds` (each call), `connect_timeout_seconds`, `ca_file`,
    `cert_file`, `key_file`, `insecure_tls`, `setup`.
    """

    inline: ClassVar[bool] = False

    def __init__(self, url: ServerUrl, *, shape: Shape | None = None) -> None:
        self._url = url
        self._version = _SERVERS[url.scheme.removesuffix("+https")]
        named = shapes.built(url.options.get("shape"), "influxdb", url.name)
        self._shape: Shape = shape or named or Native(url.options.get("writers"))
        self.address = f"{self._version(url).address}{shapes.suffix(self._shape)}"
        self._held = PerProcess(InfluxqlServer.close, leave=InfluxqlServer.close)

    @classmethod
    def from_url(cls, url: str) -> Self:
        scheme = url.partition("://")[0]
        version = scheme.removesuffix("+https")
        if version not in _SERVERS:
            raise SettingsError(f"backend: {scheme}:// is none of {', '.join(_SERVERS)}, with or without +https")
        options = {**_OPTIONS, **_OPTIONS_OF[version]}
        tls, login = scheme.endswith("+https"), version == "influxdb"
        return cls(read_url(url, default_port=8086, tls=tls, options=options, login=login))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    def open(self) -> None:
        if self._server is None:
            self._open(create=self._url.options.get("setup", True))

    def _open(self, *, create: bool) -> list[str]:
        self.close()
        server = self._version(self._url)
        try:
            done = server.prepare(create=True) if create else []
        except BaseException:
            server.close()
            raise
        self._held.put(server)
        return done

    @property
    def _server(self) -> InfluxqlServer | None:
        return self._held.get()

    def close(self) -> None:
        self._held.close()

    def write(self, batch: Batch) -> WriteResult:
        if not batch.records:
            return ACCEPTED
        self.open()
        server = self._server
        assert server is not None
        own = isinstance(self._shape, Native) and any(record.own_id is not None for record in batch.records)
        try:
            with whole_requests():
                rejected = self._replace(server, batch) if own else add(server, self._shape, batch)
        except Misconfigured:
            self.close()  # so that the next `open` looks what is missing, and creates it if it may
            raise
        return WriteResult(rejected) if rejected else ACCEPTED

    def _replace(self, server: InfluxqlServer, batch: Batch) -> dict[int, str]:
        """Add the records, but of each id only the newest content, and delete what is older on the server."""
        lines, indices, rejected = self._shape.lines(batch)
        old = superseded([batch.records[index] for index in indices])
        for turn in ([number for number in range(len(lines)) if number not in old], sorted(old)):
            refused = refused_lines(server, [lines[number] for number in turn])
            rejected |= {indices[turn[place]]: why for place, why in refused.items()}
            if not refused:
                break  # older content is only of interest when newer was refused
        taken = (batch.records[index].own_id for index in indices)  # an id without a line may be no text at all
        delete_older(server, {own_id for own_id in taken if own_id is not None})
        return rejected

    def query(self, query: Query) -> list[Series]:
        if self._shape.foreign is not None:
            return self.query_foreign(query, self._shape.foreign.asked(query))
        if not isinstance(self._shape, Native):
            return answer(self.records(query), query)
        with self._reader() as server:
            return queries.answer(server, query, queries.native(server, query))

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        with self._reader() as server:
            return answer_foreign(server, query, foreign)

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        with self._reader() as server:
            record = getattr(self._shape, "record", None)
            if record is None or isinstance(self._shape, Native):
                yield from reading.records(server, query, newest)
            else:
                yield from shapes.read(reading.shaped(server, query, record), query, newest)

    @contextmanager
    def _reader(self) -> Iterator[InfluxqlServer]:
        server = self._version(self._url) if self._server is None else self._server.again()
        try:
            if self._server is None and self._url.options.get("setup", True):
                server.prepare(create=False)
            yield server
        finally:
            server.close()

    def setup(self) -> list[str]:
        return self._open(create=True)

    def check(self) -> list[Line]:
        with closing(self._version(self._url)) as server:
            return care.check(server, may_make=self._url.options.get("setup", True))

    def indices(self) -> list[dict[str, Any]]:
        with self._reader() as server:
            return care.indices(server)

    def prune(self, before: float) -> int:
        """Forget in slices of a week; of the last one as far as a whole hundredth of a second is older."""
        with self._reader() as server:
            return care.prune(server, nanoseconds(before, "before"))
