"""What an implementation module, its backend and its records have to offer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, Protocol, Self, runtime_checkable

from tallystick.compat.djelme.util.index_status import DjelmeIndexStatus

__all__ = ["ProtoCountedUsage", "ProtoDjelmeBackend", "ProtoDjelmeImp", "ProtoDjelmeRecord"]


class ProtoDjelmeBackend(Protocol):
    def djelme_backend_name(self) -> str: ...
    def djelme_imp_kwargs(self) -> dict[str, Any]: ...
    def djelme_setup(self, recordtypes: Iterable[type]) -> None: ...
    def djelme_teardown(self, recordtypes: Iterable[type]) -> None: ...


@runtime_checkable
class ProtoDjelmeImp(Protocol):
    @staticmethod
    def djelme_backend(backend_name: str, imp_kwargs: dict[str, Any]) -> ProtoDjelmeBackend: ...
    @staticmethod
    def djelme_when_ready(backends: Iterable[ProtoDjelmeBackend]) -> None: ...


class ProtoDjelmeRecord(Protocol):
    @classmethod
    def record(cls, *, using: Any = None, **kwargs: Any) -> Self: ...
    @classmethod
    def check_djelme_setup(cls, using: Any = None) -> None: ...
    @classmethod
    def search_timeseries_range(
        cls, from_when: tuple[int, ...] | date, until_when: tuple[int, ...] | date, **kwargs: Any
    ) -> Any: ...
    @classmethod
    def each_existing_index(cls, using: Any = None) -> Iterator[DjelmeIndexStatus]: ...
    def djelme_index_name(self) -> str: ...


class ProtoCountedUsage(Protocol):
    """COUNTER's platform, database, session, item, and what the item is within."""

    platform_iri: str
    database_iri: str
    sessionhour_id: str
    item_iri: str
    within_iris: list[str]
