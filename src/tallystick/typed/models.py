"""`@record`: a type from a class of msgspec's, pydantic's or a dataclass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from tallystick.errors import SettingsError
from tallystick.recorder.metrics import Metrics
from tallystick.typed.options import options_of
from tallystick.typed.search import Search
from tallystick.typed.types import Type

C = TypeVar("C", bound=type)


@overload
def record(cls: C) -> C: ...
@overload
def record(**meta: Any) -> Callable[[C], C]: ...
def record(cls: Any = None, **meta: Any) -> Any:
    """Declare the class as a type of records: it gets `record`, `query` and `use`, as an `EventRecord` has them.

    Options are a `class Meta` in it, or arguments: `@record(period="month")`. A field `timestamp`, where it has one,
    is the record's time. For a type checker, `type_of(cls)` has the same three methods.
    """
    if cls is None:
        return lambda decorated: _declared(decorated, meta)
    return _declared(cls, meta)


def _declared(cls: type, meta: dict[str, Any]) -> type:
    if not any(hasattr(cls, mark) for mark in ("__struct_fields__", "__dataclass_fields__", "model_validate")):
        raise SettingsError(f"{cls.__qualname__} is no msgspec.Struct, pydantic model or dataclass")
    options = options_of(type(cls.__name__, (), {"Meta": type("Meta", (), meta)}) if meta else cls, None)
    kind: Type[Any] = Type(cls, options)

    def record(**fields: Any) -> Any:
        return kind.record(fields)

    def query() -> Search[Any]:
        return Search(kind)

    def use(metrics: Metrics | None) -> None:
        kind.use(metrics)

    for function in (record, query, use):
        setattr(cls, function.__name__, staticmethod(function))
    return cls
