"""From a saved record to the spool of its backend, and waiting until what this process saved is stored."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from elasticsearch8.serializer import JsonSerializer

from tallystick.compat.djelme.shapes import ID, INDEX, Documents
from tallystick.recorder.metrics import Metrics
from tallystick.records import Record

WAIT_SECONDS: Final = 10.0
"""How long what reads waits for this process's own pending records."""

_metrics: Final[dict[str, Metrics]] = {}
_lock = threading.Lock()
_as_json: Final = JsonSerializer()


def metrics_of(name: str, options: dict[str, Any], client: Callable[[], Any]) -> Metrics:
    """Where the records of a backend go, made once. A URL where the options are hosts alone, so that an agent in
    another process can deliver; else this process delivers with a client of these options."""
    with _lock:
        found = _metrics.get(name)
        if found is None:
            found = _metrics[name] = Metrics(_url(options) or _backend(client()), strict=True)
    return found


def _url(options: dict[str, Any]) -> str | None:
    hosts = options.get("hosts")
    listed = [hosts] if isinstance(hosts, str) else hosts
    if set(options) != {"hosts"} or not isinstance(listed, list) or not all(isinstance(host, str) for host in listed):
        return None
    parts = [urlsplit(host if "://" in host else f"http://{host}") for host in listed]
    schemes = {part.scheme for part in parts}
    if len(schemes) != 1 or not schemes <= {"http", "https"} or any(part.path.strip("/") for part in parts):
        return None
    scheme = "elasticsearch+https" if schemes == {"https"} else "elasticsearch"
    default = 443 if schemes == {"https"} else 9200
    if len({part.netloc.rpartition("@")[0] for part in parts}) != 1:
        return None
    user = parts[0].netloc.rpartition("@")[0]
    places = ",".join(f"{part.hostname}:{part.port or default}" for part in parts)
    return f"{scheme}://{user}{'@' if user else ''}{places}/djelme?shape=djelme"


def _backend(client: Any) -> Any:
    from tallystick.backends.elasticsearch import ElasticsearchBackend
    from tallystick.backends.search.documents import Lines

    return ElasticsearchBackend(client=client, index="djelme", shape=Lines(Documents(), "djelme"))


def new_id() -> str:
    """As short as the server's own."""
    return secrets.token_urlsafe(15)


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """The document as the driver would send it."""
    made: dict[str, Any] = _as_json.loads(_as_json.dumps(document))
    return made


def save(metrics: Metrics, kind: str, index: str, identity: str, document: dict[str, Any], *, replaces: bool) -> None:
    """Durable when it returns. With `replaces` the newest save of an id in an index is the one document there."""
    metrics.record(
        Record(
            timestamp_ns=time.time_ns(),
            kind="djelme",
            name=kind,
            value=plain(document),
            metadata={INDEX: index, ID: identity},
            own_id=f"{index}/{identity}" if replaces else None,
        )
    )


def flush(timeout_seconds: float = WAIT_SECONDS) -> bool:
    """Wait until the store has what this process saved. True when it has."""
    stored = [metrics.flush(timeout_seconds) for metrics in list(_metrics.values())]  # each, also after one failed
    return all(stored)
