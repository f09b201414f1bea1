"""The classes that a user's types are made of. A subclass is a dataclass with keyword arguments only."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Final, Self, dataclass_transform

from msgspec import structs

from tallystick.errors import SettingsError
from tallystick.recorder.metrics import Metrics
from tallystick.typed.fields import field
from tallystick.typed.options import Options, options_of
from tallystick.typed.periods import period_of
from tallystick.typed.search import Search
from tallystick.typed.types import Type, type_of
from tallystick.typed.usage import session_of

_TAKEN: Final = {"record", "query", "use", "save", "Meta"}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass_transform(kw_only_default=True, field_specifiers=(field, dataclasses.field))
class TypedRecord:
    """What `EventRecord`, `PeriodicReport` and `UsageRecord` have in common."""

    _options: ClassVar[Options | None] = None
    _always_unique: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        if taken := _TAKEN.intersection(inspect.get_annotations(cls).keys()):
            raise SettingsError(f"{cls.__qualname__}: a field cannot be called {min(taken)}; rename it")
        dataclasses.dataclass(kw_only=True)(cls)
        options = options_of(cls, cls._options)
        unique = tuple(dict.fromkeys((*cls._always_unique, *options.unique_together)))
        cls._options = structs.replace(options, unique_together=unique)
        if not cls._options.abstract:
            Type(cls, cls._options)

    @classmethod
    def record(cls, **fields: Any) -> Self:
        """Validate and store one; durable when it returns. Raises `RecordError`, which names the field."""
        return type_of(cls).record(fields)

    def save(self) -> Self:
        """Validate and store this one."""
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}  # type: ignore[arg-type]
        kind = type_of(type(self))
        kind.save(kind.made(fields))
        return self

    @classmethod
    def query(cls) -> Search[Self]:
        """A search for records of this type in the store."""
        return Search(type_of(cls))

    @classmethod
    def use(cls, metrics: Metrics | None) -> None:
        """Record and ask through this `Metrics` from now on; None means the default one."""
        type_of(cls).use(metrics)


class EventRecord(TypedRecord):
    """Something happened, at `timestamp` (now, where none is given)."""

    timestamp: datetime = field(default_factory=_now)

    class Meta:
        abstract = True


class PeriodicReport(TypedRecord):
    """What is told once for each cycle, a period in UTC, and replaced when it is told again.

    `cycle` is given as a date, a datetime or a text; it is kept as `"2026-11"`, to the type's `Meta.period`. Fields of
    `Meta.unique_together` tell several reports of one cycle apart.
    """

    _always_unique = ("cycle",)
    cycle: str
    timestamp: datetime = field(default_factory=_now)

    class Meta:
        abstract = True
        period = "month"

    @classmethod
    def record(cls, *, cycle: date | str | None = None, **fields: Any) -> Self:
        period = "month" if cls._options is None else cls._options.period
        return super().record(cycle=period_of(_now() if cycle is None else cycle, period), **fields)


class UsageRecord(EventRecord):
    """Usage to be counted as COUNTER does: what was used, where, and in which hour of whose session.

    The session is an opaque digest. It is made of `user_id`, else of `client_session_id`, else of `host` and
    `user_agent`, with the hour of the record's time; none of these is stored. `Meta.session_key` makes it a keyed hash.
    """

    platform: str = field(tag=True)
    database: str
    item: str
    within: list[str] = field(default_factory=list)
    session: str

    class Meta:
        abstract = True

    @classmethod
    def record(
        cls,
        *,
        user_id: object = None,
        client_session_id: object = None,
        host: str | None = None,
        user_agent: str | None = None,
        **fields: Any,
    ) -> Self:
        if "session" not in fields:
            moment = fields.setdefault("timestamp", _now())
            key = None if cls._options is None else cls._options.session_key
            fields["session"] = session_of(cls.__name__, moment, key, user_id, client_session_id, host, user_agent)
        return super().record(**fields)
