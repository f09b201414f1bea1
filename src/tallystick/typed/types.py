"""A type: a user's class, what validates it, and how its records look.

A record of a type is a record as any other. Its kind and its name are the type's name, its value is a document of the
fields, `timestamp` apart, which is the record's own time; fields declared with `tag=True` are tags, too; the metadata
names the description. With `unique_together` the record has an id of its own, a digest of those values, so the same
values replace the row.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar

import msgspec

from tallystick.errors import RecordError, SettingsError
from tallystick.moments import EPOCH, nanoseconds
from tallystick.recorder.metrics import Metrics
from tallystick.records import Record
from tallystick.typed import fields
from tallystick.typed.description import Description
from tallystick.typed.options import Options
from tallystick.values import tag_text

T = TypeVar("T")

TIME: Final = "timestamp"
DIGEST: Final = "type"
"""Where a record's metadata names its type's description."""

_PLACE: Final = re.compile(r"(?P<why>.*?) - at `\$\.?(?P<field>[^`]*)`$")
_MISSING: Final = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_types: Final[dict[type, Type[Any]]] = {}
_default: Final[list[Metrics]] = []
_maker: Final[list[Callable[[], Metrics]]] = []
_lock: Final = threading.Lock()


class Type(Generic[T]):
    """How a class of records is validated, recorded and asked. One is made for each declared class."""

    def __init__(self, of: type[T], options: Options) -> None:
        self.of = of
        self.options = options
        self.name = options.name
        self._metrics: Metrics | None = None
        self._written: set[object] = set()
        self._tags: tuple[str, ...] | None = None
        self._description: Description | None = None
        _types[of] = self

    def use(self, metrics: Metrics | None) -> None:
        """Record through this one from now on; None means the default one again."""
        self._metrics = metrics

    @property
    def metrics(self) -> Metrics:
        return self._metrics or default()

    @property
    def description(self) -> Description:
        if self._description is None:
            schema = self._schema()
            known = schema.get("properties", {})
            for name in self.options.unique_together:
                if name not in known:
                    raise SettingsError(f"{self.name}.Meta: unique_together names {name!r}, which is no field")
            self._description = Description(
                name=self.name,
                period=self.options.period,
                retention_days=self.options.retention_days,
                unique_together=self.options.unique_together,
                schema=schema,
                options=fields.options_of(self.of),
            )
        return self._description

    def _schema(self) -> dict[str, Any]:
        pydantic = getattr(self.of, "model_json_schema", None)
        schema: dict[str, Any]
        if pydantic is not None:
            schema = pydantic()
        else:
            (reference,), parts = msgspec.json.schema_components([self.of], ref_template="#/$defs/{name}")
            schema = dict(parts.pop(reference["$ref"].rpartition("/")[2]))
            schema |= {"$defs": parts} if parts else {}
        schema.pop("title", None)
        schema["properties"] = {n: p for n, p in schema.get("properties", {}).items() if n != TIME}
        return schema

    # --- from values to a record ---

    def made(self, values: Mapping[str, Any]) -> T:
        """An instance, validated. Raises `RecordError` that names the field."""
        known = self.description.schema["properties"]
        for name in values:
            if name not in known and not (name == TIME and self._timed):
                raise RecordError("field", f"{self.name}.{name}", f"is no field; fields are {', '.join(known)}")
        return self._converted(fields.given(values), strict=True)

    @property
    def _timed(self) -> bool:
        return any(TIME in getattr(base, "__annotations__", {}) for base in self.of.__mro__)

    def _converted(self, values: dict[str, Any], *, strict: bool) -> T:
        try:
            validate: Callable[[Any], T] | None = getattr(self.of, "model_validate", None)
            if validate is not None:
                return validate(values)
            return msgspec.convert(values, self.of, strict=strict)
        except msgspec.ValidationError as error:
            raise self._refusal(str(error)) from None
        except ValueError as error:
            first: list[Any] = getattr(error, "errors", list)()[:1]
            where = ".".join(str(part) for part in first[0]["loc"]) if first else ""
            why = first[0]["msg"] if first else str(error)
            raise RecordError("field", f"{self.name}.{where}".rstrip("."), why) from None

    def _refusal(self, said: str) -> RecordError:
        missing, placed = _MISSING.match(said), _PLACE.match(said)
        inside = placed["field"] if placed else ""
        if missing:
            where = ".".join(part for part in (inside, missing["field"]) if part)
            return RecordError("field", f"{self.name}.{where}", "must be given")
        return RecordError("field", f"{self.name}.{inside}".rstrip("."), placed["why"] if placed else said)

    def document(self, instance: T) -> dict[str, Any]:
        """The record's value."""
        if hasattr(instance, "model_dump"):
            plain = msgspec.to_builtins(instance.model_dump(), builtin_types=(datetime,))
        else:
            plain = msgspec.to_builtins(instance, builtin_types=(datetime,))
        plain.pop(TIME, None)
        return {name: fields.storable(value, f"{self.name}.{name}") for name, value in plain.items()}

    def record_of(self, instance: T) -> Record:
        document = self.document(instance)
        if self._tags is None:
            self._tags = tuple(name for name, options in self.description.options.items() if options.tag)
        tags = {n: tag_text(document[n], f"{self.name}.{n}") for n in self._tags if document.get(n) is not None}
        moment = getattr(instance, TIME, None)
        if isinstance(moment, datetime) and moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return Record(
            timestamp_ns=time.time_ns() if moment is None else nanoseconds(moment, f"{self.name}.{TIME}"),
            kind=self.name,
            name=self.name,
            value=document,
            tags=tags,
            metadata={DIGEST: self.description.digest},
            own_id=self.own_id(document),
        )

    def own_id(self, document: Mapping[str, Any]) -> str | None:
        """A digest of the unique values; None where a record has none."""
        if not self.options.unique_together:
            return None
        values = [document[name] for name in self.options.unique_together]
        return f"{self.name}-{blake2b(msgspec.json.encode(values, order='sorted'), digest_size=16).hexdigest()}"

    def record(self, values: Mapping[str, Any]) -> T:
        """Validate and store: durable when it returns. Raises `RecordError`."""
        instance = self.made(values)
        self.save(instance)
        return instance

    def save(self, instance: T) -> None:
        """Store one that was validated."""
        metrics, record = self.metrics, self.record_of(instance)
        folder = metrics.folder
        if folder is not None and folder not in self._written:
            with _lock:
                self.description.write(folder)
                self._written.add(folder)
        metrics.record(record)

    # --- and back ---

    def loaded(self, record: Record) -> T:
        """The instance that was recorded. Raises `RecordError` for a document of another form."""
        document = dict(record.value) if isinstance(record.value, dict) else {}
        if self._timed:
            document[TIME] = EPOCH + timedelta(microseconds=record.timestamp_ns // 1_000)
        known = self.description.schema["properties"]
        return self._converted({n: v for n, v in document.items() if n in known or n == TIME}, strict=False)


def default() -> Metrics:
    """What types record through that were told of none: `Metrics()`, by the settings, made once."""
    if _maker and not _default:
        return _maker[0]()
    if not _default:
        with _lock:
            if not _default:
                _default.append(Metrics())
    return _default[0]


def use(metrics: Metrics | None) -> None:
    """Let all types without a `use` of their own record through this one; None means `Metrics()` again."""
    _default[:] = [] if metrics is None else [metrics]


def use_by(make: Callable[[], Metrics] | None) -> None:
    """Ask this function for the default at each record: a framework's own `Metrics`, as its settings are then."""
    _maker[:] = [] if make is None else [make]


def type_of(cls: type[T]) -> Type[T]:
    """The type of a declared class. Raises `SettingsError` for an abstract or undeclared one."""
    found = _types.get(cls)
    if found is None:
        raise SettingsError(f"{cls.__qualname__} is no type of records: it is abstract, or was not declared")
    return found


def declared() -> list[Type[Any]]:
    """All types of this process, in the order of their declaration."""
    return list(_types.values())
