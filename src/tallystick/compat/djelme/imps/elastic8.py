"""Record types for Elasticsearch 8: `EventRecord`, `CountedUsageRecord`, `CyclicReport`, `SimpleRecord`.

A type is a document of `elasticsearch8.dsl`. `save()` validates, computes index and id, and appends to the spool; an
agent brings the document to the server. What reads, refreshes, changes or deletes waits first, bounded, until the
server has what this process saved.

No postponed annotations here: the driver reads them when a class is made.
"""

import functools
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Literal, Self

from elasticsearch8 import dsl as esdsl
from elasticsearch8.exceptions import NotFoundError

from tallystick.compat.djelme import engine, exceptions, signals
from tallystick.compat.djelme.imps.backend import DjelmeElastic8Backend, djelme_backend, djelme_when_ready
from tallystick.compat.djelme.imps.declaring import RecordMeta, SimpleMeta
from tallystick.compat.djelme.imps.timeseries import Timeseries
from tallystick.compat.djelme.registry import djelme_registry
from tallystick.compat.djelme.util.anon_enough import opaque_key, opaque_sessionhour_id
from tallystick.compat.djelme.util.django import find_app_label_for_module
from tallystick.compat.djelme.util.index_status import DjelmeIndexStatus
from tallystick.compat.djelme.util.timeparts import GregorianTime, Timeparts, TimepartStrat, serialize_timeparts

__all__ = [
    "BaseDjelmeRecord",
    "CountedUsageRecord",
    "CyclicReport",
    "DjelmeElastic8Backend",
    "EventRecord",
    "SimpleRecord",
    "TimeseriesRecord",
    "djelme_backend",
    "djelme_registry",
    "djelme_when_ready",
    "utcnow",
]


def utcnow() -> datetime:
    return datetime.now(UTC)


class BaseDjelmeRecord(esdsl.Document, metaclass=RecordMeta):
    """What all record types have in common."""

    UNIQUE_TOGETHER_FIELDS: ClassVar[Iterable[str]] = ()

    class Meta:
        abstract = True

    @classmethod
    def check_djelme_setup(cls, using: Any = None) -> None:
        """Raises a `DjelmeSetupError` when the server is not as this type needs it."""
        raise TypeError(f"{cls.__name__} is neither a TimeseriesRecord nor a SimpleRecord")

    @classmethod
    @functools.cache
    def require_been_setup(cls, using: Any = None) -> None:
        """Check once for each type and `using`; a failure is not remembered."""
        cls.check_djelme_setup(using)

    @classmethod
    def record(cls, *, using: str | Literal[False] | None = None, **kwargs: Any) -> Self:
        """Make one and save it; with `using=False` only make it."""
        assert not cls.is_abstract
        made = cls(**kwargs)
        if using is not False:
            made.save(using=using)
        return made

    @classmethod
    def get_index_name_prefix(cls) -> str:
        own = cls._get_meta_attr("index_name_prefix")
        prefix: str = own or cls._get_djelme_backend().default_index_name_prefix or ""
        return prefix

    @classmethod
    def _get_djelme_backend(cls) -> DjelmeElastic8Backend:
        found = djelme_registry.get_backend_for_recordtype(cls)
        assert isinstance(found, DjelmeElastic8Backend)
        return found

    @classmethod
    def _get_using(cls, using: Any = None) -> Any:
        """The connection's name: one that was given, else the backend's of this type."""
        if using is None or using == "default":
            return cls._get_djelme_backend().djelme_backend_name()
        return super()._get_using(using)

    @classmethod
    def _get_connection(cls, using: Any = None) -> Any:
        engine.flush()
        return super()._get_connection(using)

    def djelme_index_name(self) -> str:
        raise TypeError(f"{type(self).__name__} is neither a TimeseriesRecord nor a SimpleRecord")

    def _get_index(self, index: str | None = None, required: bool = True) -> str | None:
        return super()._get_index(index or self.djelme_index_name(), required)

    def clean(self) -> None:
        """Fill in what other fields say, before validation."""
        unique = [getattr(self, name) for name in self.UNIQUE_TOGETHER_FIELDS or ()]
        if unique:
            self.meta.id = opaque_key(unique)
        super().clean()

    def save(  # type: ignore[override]
        self,
        *,
        using: Any = None,
        index: str | None = None,
        validate: bool = True,
        skip_empty: bool = True,
        return_doc_meta: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Durable when it returns; `meta.id` and `meta.index` are filled. `"created"`, or `"updated"` for one that
        has been saved or read before."""
        kind = type(self)
        assert not kind.is_abstract
        self.require_been_setup(using=using)
        signals.pre_save.send(kind, instance=self, using=using, index=index)
        known = getattr(self.meta, "id", None)
        if validate:
            self.full_clean()
        place = self._get_index(index)
        assert place is not None
        identity = kwargs.get("id") or getattr(self.meta, "id", None)
        document = self.to_dict(skip_empty=skip_empty)
        metrics = DjelmeElastic8Backend.named(self._get_using(using)).metrics()
        name = identity or engine.new_id()
        engine.save(metrics, kind.__name__, place, name, document, replaces=identity is not None)
        self.meta.id, self.meta.index = name, place
        result = "updated" if known is not None else "created"
        signals.post_save.send(kind, instance=self, using=using, index=index)
        return {"_index": place, "_id": name, "result": result} if return_doc_meta else result


class SimpleRecord(BaseDjelmeRecord, metaclass=SimpleMeta):
    """One index for all records of the type."""

    class Meta:
        abstract = True

    @classmethod
    def djelme_index_name(cls) -> str:
        assert not cls.is_abstract
        name = f"{find_app_label_for_module(cls.__module__).lower()}_{cls.__name__.lower()}"
        prefix = cls.get_index_name_prefix()
        return name if name.startswith(prefix) else f"{prefix}{name}"

    @classmethod
    def check_djelme_setup(cls, using: Any = None) -> None:
        assert not cls.is_abstract
        name = cls.djelme_index_name()
        try:
            found = cls._get_connection(using).indices.get(index=name)
        except NotFoundError as error:
            raise exceptions.IndexNotFoundError(f"Index {name} does not exist for {cls.__name__}", error) from error
        if found[name]["mappings"] != cls._index.to_dict()["mappings"]:
            raise exceptions.IndexOutOfSyncError(f"Index {name} has mappings out of sync with {cls.__name__}")

    @classmethod
    def do_teardown(cls, es_client: Any) -> None:
        assert not cls.is_abstract
        engine.flush()
        cls._index.delete(using=es_client, ignore_unavailable=True)

    @classmethod
    def search(cls, using: Any = None, index: str | None = None) -> Any:
        engine.flush()
        return super().search(using=using, index=index)

    @classmethod
    def each_existing_index(cls, using: Any = None) -> Iterator[DjelmeIndexStatus]:
        indices = cls._get_connection(using).indices
        for name in indices.get(index=cls.djelme_index_name(), features=",", ignore_unavailable=True):
            yield DjelmeIndexStatus(name)

    @classmethod
    def refresh(cls, using: Any = None) -> None:
        assert not cls.is_abstract
        cls._get_connection(using).indices.refresh(index=cls.djelme_index_name())


class TimeseriesRecord(Timeseries, BaseDjelmeRecord):
    """An index for each period of time; `timeseries_timeparts` is the moment as a version, to search a range by."""

    timeseries_timeparts: str = esdsl.mapped_field(esdsl.Version())

    class Meta:
        abstract = True

    @classmethod
    def _expired_before(cls) -> Timeparts | None:
        age = cls.get_timeseries_index_expiration()
        return None if age is None else cls.get_timepart_strat().get_timeparts(utcnow() - age)

    def get_timeseries_timeparts(self) -> Timeparts:
        raise TypeError(f"{type(self).__name__} must define get_timeseries_timeparts")

    def djelme_index_name(self) -> str:
        return str(self.timeseries_index_naming(self.get_timeseries_timeparts()))

    def clean(self) -> None:
        super().clean()
        self.timeseries_timeparts = serialize_timeparts(self.get_timeseries_timeparts())


class EventRecord(TimeseriesRecord):
    """Something happened at `timestamp`."""

    timestamp: datetime = esdsl.mapped_field(default_factory=lambda: utcnow())  # noqa: PLW0108 (looked up at each call)

    class Meta:
        abstract = True

    def get_timeseries_timeparts(self) -> Timeparts:
        return self.get_timepart_strat().get_timeparts(self.timestamp, truncate=False)


class CountedUsageRecord(EventRecord):
    """Usage, by COUNTER's terms."""

    platform_iri: str = esdsl.mapped_field(required=True, default="")
    database_iri: str = esdsl.mapped_field(required=True, default="")
    item_iri: str = esdsl.mapped_field(required=True, default="")
    sessionhour_id: str = esdsl.mapped_field(esdsl.Keyword(), default="")
    within_iris: list[str] = esdsl.mapped_field(esdsl.Keyword(), default_factory=list)

    class Meta:
        abstract = True

    @classmethod
    def record(
        cls,
        *,
        sessionhour_id: str = "",
        user_id: str = "",
        client_session_id: str = "",
        request_host: str = "",
        request_useragent: str = "",
        **kwargs: Any,
    ) -> Self:
        """Of what tells a person only an opaque key is stored; an explicit `sessionhour_id` is stored as given."""
        session = sessionhour_id or opaque_sessionhour_id(
            client_session_id=client_session_id,
            user_id=user_id,
            request_host=request_host,
            request_useragent=request_useragent,
            timestamp=kwargs.get("timestamp"),
        )
        return super().record(**kwargs, sessionhour_id=session)


class CyclicReport(TimeseriesRecord):
    """One report for each cycle."""

    UNIQUE_TOGETHER_FIELDS: ClassVar[Iterable[str]] = ("cycle_coverage",)
    CYCLE_TIMEDEPTH: ClassVar[int]

    cycle_coverage: str = esdsl.mapped_field(esdsl.Version())
    created: datetime = esdsl.mapped_field(default_factory=lambda: utcnow())  # noqa: PLW0108 (looked up at each call)

    class Meta:
        abstract = True

    @classmethod
    def get_cycle_timepart_strat(cls) -> TimepartStrat:
        return GregorianTime(cls.CYCLE_TIMEDEPTH)

    def clean(self) -> None:
        cycle: Any = self.cycle_coverage
        self.cycle_coverage = serialize_timeparts(self.get_cycle_timepart_strat().get_timeparts(_cycle(cycle)))
        super().clean()

    def get_timeseries_timeparts(self) -> Timeparts:
        return self.get_timepart_strat().get_timeparts(_cycle(self.cycle_coverage), truncate=False, pad=False)


def _cycle(given: Any) -> date | str:
    """A date or a text; a tuple that the driver made a list of its own kind of is refused as before."""
    if isinstance(given, date | str):
        return given
    raise ValueError("expected tuple, list, date, datetime, or str", given)
