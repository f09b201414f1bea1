"""From a URL to a backend: `sqlite:///metrics.db` → `SqliteBackend.from_url("sqlite:///metrics.db")`.

The table names our own classes as text, so nothing is imported before it is asked for and no room is known down here.
A scheme that is not in the table is looked for among the entry points in the group `tallystick.backends`, where other
distributions register theirs; they add schemes and cannot replace ours.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from tallystick.errors import MissingExtra, SettingsError
from tallystick.masking import mask_url

GROUP: Final = "tallystick.backends"

BACKENDS: Final = {
    "sqlite": "tallystick.backends.sqlite:SqliteBackend",
    "log": "tallystick.backends.log:LogBackend",
    "memory": "tallystick.backends.memory:MemoryBackend",
    "influxdb": "tallystick.backends.influxdb:InfluxdbBackend",
    "influxdb+https": "tallystick.backends.influxdb:InfluxdbBackend",
    "influxdb2": "tallystick.backends.influxdb:InfluxdbBackend",
    "influxdb2+https": "tallystick.backends.influxdb:InfluxdbBackend",
    "influxdb3": "tallystick.backends.influxdb3:Influxdb3Backend",
    "influxdb3+https": "tallystick.backends.influxdb3:Influxdb3Backend",
    "mongodb": "tallystick.backends.mongodb:MongodbBackend",
    "mongodb+srv": "tallystick.backends.mongodb:MongodbBackend",
    "rethinkdb": "tallystick.backends.rethinkdb:RethinkdbBackend",
    "postgresql": "tallystick.backends.postgresql:PostgresqlBackend",
    "parquet": "tallystick.backends.parquet:ParquetBackend",
    "clickhouse": "tallystick.backends.clickhouse:ClickhouseBackend",
    "clickhouse+https": "tallystick.backends.clickhouse:ClickhouseBackend",
    "elasticsearch": "tallystick.backends.elasticsearch:ElasticsearchBackend",
    "elasticsearch+https": "tallystick.backends.elasticsearch:ElasticsearchBackend",
    "opensearch": "tallystick.backends.opensearch:OpensearchBackend",
    "opensearch+https": "tallystick.backends.opensearch:OpensearchBackend",
}
"""URL scheme → `module:Class`. Each class has a class method `from_url(url)` that connects to nothing yet."""


SHAPES: Final = {
    "djelme": "tallystick.compat.djelme.shapes:SHAPES",
    "kadabra": "tallystick.compat.kadabra.points:SHAPES",
    "kaneda": "tallystick.compat.kaneda.shapes:SHAPES",
}
"""A shape's name → `module:NAME` of a dict from a store (`"mongodb"`, `"influxdb"`, …) to what makes the shape there:
called with the collection, table or index of the backend, and with the text after `name:` in the URL."""

SHAPES_GROUP: Final = "tallystick.shapes"


CHANNELS: Final = {
    "redis": "tallystick.channels.redis:RedisChannel",
    "rediss": "tallystick.channels.redis:RedisChannel",
    "nats": "tallystick.channels.nats:NatsChannel",
    "nats+tls": "tallystick.channels.nats:NatsChannel",
    "kafka": "tallystick.channels.kafka:KafkaChannel",
    "kafka+tls": "tallystick.channels.kafka:KafkaChannel",
    "kadabra+redis": "tallystick.compat.kadabra.lists:ListChannel",
    "kadabra+rediss": "tallystick.compat.kadabra.lists:ListChannel",
}
"""URL scheme → `module:Class` of a channel, whose class method `from_url(url)` connects to nothing yet."""


def channel_from_url(url: str) -> Any:
    """The channel that the URL names, not yet opened; it keeps to the protocol `Channel` of `channels/base.py`.

    Raises `SettingsError` for an unknown scheme or a URL that the channel cannot read.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in CHANNELS:
        raise SettingsError(f"channel: {mask_url(url)!r} names no channel; known are {', '.join(sorted(CHANNELS))}")
    module, _, name = CHANNELS[scheme.lower()].partition(":")
    try:
        return getattr(importlib.import_module(module), name).from_url(url)
    except SettingsError:
        raise
    except ValueError:  # of urllib, which shows parts of the URL in its messages
        raise SettingsError(f"channel: {mask_url(url)!r} cannot be read; it must be {scheme}://host:port/…") from None


def is_channel(url: str) -> bool:
    return url.partition("://")[0].lower() in CHANNELS


def target_from_url(url: str) -> Any:
    """The channel or the backend that the URL names, not yet opened. Raises `SettingsError`."""
    return channel_from_url(url) if is_channel(url) else backend_from_url(url)


def backend_from_url(url: str) -> Any:
    """The backend that the URL names, not yet opened; it keeps to the protocol `Backend` of `backends/base.py`.

    Raises `SettingsError` for an unknown scheme or a URL that the backend cannot read. A missing driver shows only
    when the backend opens.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise SettingsError(f"backend: {mask_url(url)!r} is no URL; write for example sqlite:///metrics.db")
    backend = _backend_class(scheme, url)
    try:
        return backend.from_url(f"{scheme}://{rest}")
    except SettingsError:
        raise
    except ValueError:  # of urllib, which shows parts of the URL in its messages
        raise SettingsError(
            f"backend: {mask_url(url)!r} cannot be read; it must be scheme://user:password@host:port/name,"
            " with special characters in the user and password written as %40 and so on"
        ) from None


def shape(text: str, store: str, place: str) -> Any:
    """The shape that `?shape=name` or `?shape=name:argument` means in this store; see `backends/shapes.py`.

    Raises `SettingsError` for one that is not known, or not in this store.
    """
    name, _, argument = text.partition(":")
    if name in SHAPES:
        module, _, attribute = SHAPES[name].partition(":")
        makers = getattr(importlib.import_module(module), attribute)
    else:
        found = _entry_points(SHAPES_GROUP)
        if name not in found:
            known = ", ".join(sorted({*SHAPES, *found}))
            raise SettingsError(f"backend: there is no shape {name!r}; known are {known}")
        try:
            makers = found[name].load()
        except Exception as error:
            raise SettingsError(
                f"backend: the shape {name} is registered as {found[name].value}, which cannot be imported"
                f" ({type(error).__name__}: {error}); repair or uninstall the package that brings it"
            ) from error
    if store not in makers:
        raise SettingsError(f"backend: the shape {name} is not for {store}; it is for {', '.join(sorted(makers))}")
    return makers[store](place, argument)


def schemes() -> list[str]:
    """Every URL scheme that `backend_from_url` knows here, entry points included."""
    return sorted({*BACKENDS, *_entry_points()})


def missing_extra(extra: str, error: ImportError) -> MissingExtra:
    """What a backend raises when its driver is not there: `raise missing_extra("mongodb", error) from error`."""
    driver = error.name or str(error)
    return MissingExtra(f"{driver} is not installed; run: pip install 'tallystick[{extra}]'", name=error.name)


def _backend_class(scheme: str, url: str) -> Any:
    if scheme in BACKENDS:
        module, _, name = BACKENDS[scheme].partition(":")
        return getattr(importlib.import_module(module), name)
    found = _entry_points().get(scheme)
    if found is None:
        raise SettingsError(
            f"backend: no backend for {scheme}:// in {mask_url(url)!r}{_near(scheme)}; known are {', '.join(schemes())}"
        )
    try:
        backend = found.load()
    except Exception as error:
        raise SettingsError(
            f"backend: {scheme}:// is registered as {found.value}, which cannot be imported"
            f" ({type(error).__name__}: {error}); repair or uninstall the package that brings it"
        ) from error
    if not callable(getattr(backend, "from_url", None)):
        raise SettingsError(
            f"backend: {scheme}:// is registered as {found.value}, which has no from_url(url); BaseBackend has one"
        )
    return backend


def _entry_points(group: str = GROUP) -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name.lower(): point for point in entry_points(group=group)}


def _near(scheme: str) -> str:
    import difflib

    near = difflib.get_close_matches(scheme, schemes(), 1)
    return f"; did you mean {near[0]}://?" if near else ""
