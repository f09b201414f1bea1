"""What a type's `class Meta` says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from tallystick.errors import SettingsError
from tallystick.typed.periods import PERIODS

SessionKey = bytes | str | Callable[[datetime], bytes]


class Options(msgspec.Struct, frozen=True):
    """`period` is what one index, partition or file set holds. `unique_together` names fields: a record with the same
    values replaces the row. `session_key` is the key of `UsageRecord`'s hash, or a function from the hour to it.
    """

    name: str
    period: str = "day"
    retention_days: float | None = None
    unique_together: tuple[str, ...] = ()
    abstract: bool = False
    session_key: SessionKey | None = None


_NOT_INHERITED: Final = {"name", "abstract"}


def options_of(cls: type, parent: Options | None) -> Options:
    """`Meta` over what the parent's says; `name` and `abstract` are each class's own. Raises `SettingsError`."""
    place = f"{cls.__qualname__}.Meta"
    inherited = {} if parent is None else msgspec.structs.asdict(parent)
    found: dict[str, Any] = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    meta = cls.__dict__.get("Meta")
    if meta is not None:
        found |= {name: value for name, value in vars(meta).items() if not name.startswith("__")}
    found.setdefault("name", cls.__name__)
    if unknown := found.keys() - set(Options.__struct_fields__):
        raise SettingsError(f"{place}: {min(unknown)} is unknown; known are {', '.join(Options.__struct_fields__)}")
    if found.get("period", "day") not in PERIODS:
        raise SettingsError(f"{place}: period {found['period']!r} is none of {', '.join(PERIODS)}")
    days = found.get("retention_days")
    if days is not None and (isinstance(days, bool) or not isinstance(days, int | float) or not days > 0):
        raise SettingsError(f"{place}: retention_days {days!r} must be a number above 0, or None")
    found["retention_days"] = None if days is None else float(days)
    unique = found.get("unique_together", ())
    if isinstance(unique, str) or not all(isinstance(name, str) for name in unique):
        raise SettingsError(f"{place}: unique_together {unique!r} must be a tuple of names of fields")
    found["unique_together"] = tuple(unique)
    return Options(**found)
