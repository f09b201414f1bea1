"""The contract between the agent and a database: at most four methods.

A backend writes a batch and says what became of each record. It knows nothing of buffering, retry or dead letters:
those are the agent's. What it must keep:

- `write` returns only when what it accepted is durable in the store's own sense; the spool forgets it after that.
- Writing a batch again, whole or in part, leaves one row a record. A record with `replaces` is one row for each id,
  and content with an older timestamp never overwrites newer.
- A verdict for every record: rejected (index and reason, in `WriteResult.rejected`), kept (`WriteResult.kept`), else
  accepted. An exception that names no record makes the agent bisect the batch; `Unavailable` keeps all of it,
  `TooLarge` halves it.
- Own timeouts on every network call; nothing crosses a fork; `open` is idempotent and cheap when already open.
- `open`, `write` and `close` are called by one thread at a time; `query` may be called by another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import msgspec

from tallystick.contracts import ACCEPTED, Target, WriteResult
from tallystick.errors import QueryError, Unavailable
from tallystick.interruptions import from_outside
from tallystick.queries import Query, Series
from tallystick.records import Batch, Record, Value

__all__ = [
    "ACCEPTED",
    "Backend",
    "BaseBackend",
    "Foreign",
    "Line",
    "Managed",
    "Readable",
    "ReadsForeign",
    "Target",
    "WriteResult",
]


@runtime_checkable
class Backend(Target, Protocol):
    """A target that answers questions. `inline` is True when the recorder may write at once, without a spool. `address`
    says where the records go, as a URL without secrets: it names the pipeline and is shown to people.
    """

    inline: ClassVar[bool]

    def query(self, query: Query) -> list[Series]: ...


class Line(msgspec.Struct, frozen=True):
    """One finding of `Managed.check`: `ok`, what was looked at, and the remedy when it is not ok."""

    ok: bool
    what: str
    remedy: str = ""


@runtime_checkable
class Managed(Protocol):
    """Optional powers: make and check the schema, list what holds the records, forget the old."""

    def setup(self) -> list[str]:
        """Create or upgrade what is missing; says what was done, one sentence each."""

    def check(self) -> list[Line]:
        """What is as it should be and what is not, without changing anything."""

    def indices(self) -> list[dict[str, Any]]:
        """What holds the records (tables, indices, partitions, files): name, records, size_bytes, oldest, newest."""

    def prune(self, before: float) -> int:
        """Forget the records older than `before` (epoch seconds); how many rows went."""


@runtime_checkable
class Readable(Protocol):
    """Optional power: give the records back whole, for `tail`, `export`, `copy` and the contract suite."""

    def records(self, query: Query, *, newest: int | None = None) -> Iterator[Record]:
        """The records that fit the query's names, kinds, `where` and time range, oldest first.

        The query's aggregate, `by`, `bucket` and `limit` are of no matter here. With `newest`, only that many: the
        newest ones, still oldest first. Equally old records of one segment come in the order of their recording.
        """


class Foreign(msgspec.Struct, frozen=True, kw_only=True):
    """Where data that was not written by us keeps what a query needs: columns of a table, fields of documents, …

    `source` is the table, index, collection or measurement (or file pattern). `value` and `time` name columns;
    `time_unit` says what the time column holds (`"native"`: the store's own time type). Without a `name` column all of
    it is one metric, named like the source; the same for `kind` (then `"gauge"`). `tags` maps a tag to its column;
    `tags_in` names an object that has all others as its members.
    """

    source: str
    time: str
    value: str
    time_unit: Literal["native", "ns", "us", "ms", "s", "iso"] = "native"
    name: str | None = None
    kind: str | None = None
    tags: dict[str, str] = {}
    tags_in: str | None = None

    def asked(self, query: Query) -> Foreign:
        """The same, with a column for each tag that the query names."""
        if self.tags_in is None:
            return self
        named = {tag: f"{self.tags_in}.{tag}" for tag in (*query.by, *query.where)}
        return msgspec.structs.replace(self, tags={**named, **self.tags}, tags_in=None)


@runtime_checkable
class ReadsForeign(Protocol):
    """Optional power: answer queries from data that another tool or hand wrote."""

    def query_foreign(self, query: Query, foreign: Foreign) -> list[Series]:
        """As `query`, from there. Raises `QueryError` when the source or a column does not exist."""


class BaseBackend:
    """For a backend of one's own: subclass it and write `report`, called once a record.

        class Printer(BaseBackend):
            def report(self, name, kind, value, tags, id):
                print(name, value)

    An exception from `report` rejects that record (it goes to the dead letters with the exception's text);
    `Unavailable`, `ConnectionError` and `TimeoutError` keep it and all that follow it for a later try.
    A record may be reported again after a crash, with the same `id`.
    """

    inline: ClassVar[bool] = False

    @property
    def address(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Built from a URL whose scheme an entry point in the group `tallystick.backends` names."""
        return cls()

    def open(self) -> None:
        """Connect; called before the first batch and again after a failure."""

    def report(self, name: str, kind: str, value: Value, tags: dict[str, str], id: str) -> None:
        raise NotImplementedError(f"{type(self).__qualname__} must define report(name, kind, value, tags, id)")

    def write(self, batch: Batch) -> WriteResult:
        rejected: dict[int, str] = {}
        for index, record in enumerate(batch.records):
            try:
                self.report(record.name, record.kind, record.value, dict(record.tags), record.id)
            except Exception as error:
                if from_outside(error):
                    raise
                reason = f"{type(error).__name__}: {error}"
                if isinstance(error, Unavailable | ConnectionError | TimeoutError):
                    return WriteResult(rejected, dict.fromkeys(range(index, len(batch)), reason))
                rejected[index] = reason
        return WriteResult(rejected)

    def query(self, query: Query) -> list[Series]:
        raise QueryError(f"{self.address} cannot answer queries; override query(), or ask the database itself")

    def close(self) -> None:
        """Let go of connections; called from the thread that wrote."""
