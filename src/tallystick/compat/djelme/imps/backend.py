"""One backend of `DJELME_BACKENDS`: its connection, and where its records go."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from elasticsearch8 import dsl as esdsl

from tallystick.compat.djelme import engine
from tallystick.compat.djelme.registry import djelme_registry
from tallystick.recorder.metrics import Metrics

_PREFIX: Final = "djelme_default_index_name_prefix"


@dataclasses.dataclass
class DjelmeElastic8Backend:
    backend_name: str
    imp_kwargs: dict[str, Any]
    _ours: ClassVar[frozenset[str]] = frozenset({_PREFIX})

    @classmethod
    def named(cls, using: Any) -> DjelmeElastic8Backend:
        """The backend of a connection. Raises `KeyError` for the name of none, as the driver does."""
        if isinstance(using, str) and using in djelme_registry.all_backends:
            found = djelme_registry.get_backend(using)
            assert isinstance(found, DjelmeElastic8Backend)
            return found
        esdsl.connections.get_connection(using)
        return _Connection(str(using) if isinstance(using, str) else f"client-{id(using)}", {}, using)

    def djelme_backend_name(self) -> str:
        return self.backend_name

    def djelme_imp_kwargs(self) -> dict[str, Any]:
        return self.imp_kwargs

    @property
    def default_index_name_prefix(self) -> str:
        prefix: str = self.imp_kwargs.get(_PREFIX, "")
        return prefix

    @property
    def connection_options(self) -> dict[str, Any]:
        """What the driver's client is made with."""
        return {name: value for name, value in self.imp_kwargs.items() if name not in self._ours}

    @property
    def elastic_client(self) -> Any:
        return esdsl.connections.get_connection(self.backend_name)

    def metrics(self) -> Metrics:
        return engine.metrics_of(self.backend_name, self.connection_options, lambda: self.elastic_client)

    def djelme_setup(self, recordtypes: Iterable[Any]) -> None:
        for kind in recordtypes:
            kind.init(using=self.backend_name)

    def djelme_teardown(self, recordtypes: Iterable[Any]) -> None:
        for kind in recordtypes:
            kind.do_teardown(self.elastic_client)


@dataclasses.dataclass
class _Connection(DjelmeElastic8Backend):
    """A connection of the driver's that no backend of the settings has, or a client itself."""

    using: Any = None

    @property
    def elastic_client(self) -> Any:
        return esdsl.connections.get_connection(self.using)


djelme_backend = DjelmeElastic8Backend


def djelme_when_ready(backends: Iterable[Any]) -> None:
    """Called once after all apps are ready: each backend's connection has the backend's name."""
    ours = [backend for backend in backends if isinstance(backend, DjelmeElastic8Backend)]
    esdsl.connections.configure(**{backend.backend_name: backend.connection_options for backend in ours})
