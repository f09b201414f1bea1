"""What backends of one's own subclass, and what Kaneda's own ones share."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

from tallystick.compat.kaneda.documents import payload
from tallystick.compat.kaneda.engine import Engine


class BaseBackend:
    """Subclass it and define `report`, which is called at once, in the caller's thread; its answer is passed on.

    `settings_namespace` says which settings are its arguments: `"MY"` passes `MY_HOST` as `host`.
    """

    settings_namespace: str | None = None

    def report(self, name: str, metric: str, value: Any, tags: Any, id_: Any) -> Any:
        raise TypeError(f"{type(self).__qualname__} must define report(name, metric, value, tags, id_)")

    def _get_host_name(self) -> str:
        return socket.gethostname()

    def _get_payload(self, name: str, value: Any, tags: Any) -> dict[str, Any]:
        """The document's beginning: a new dict."""
        return payload(self._get_host_name(), name, value, tags)


class Stored(BaseBackend):
    """A backend whose records go through the spool. `key_field` is what the store calls a document's key."""

    key_field: ClassVar[str] = ""
    engine: Engine

    def report(
        self, name: str, metric: str, value: Any, tags: Any, id_: Any, *, at: int | None = None, host: str = ""
    ) -> Any:
        """`at` and `host` are of a record that came through a queue: its time in nanoseconds, and where it was made."""
        key = self._key(value, id_)
        self.engine.record(name, metric, value, tags, key, at, host)
        return self._answer(key, metric)

    def _key(self, value: Any, id_: Any) -> str | None:
        """The key that the document will have: the caller's, the document's own, or one made here."""
        if id_ is None and self.key_field and isinstance(value, Mapping):
            id_ = value.get(self.key_field)
        return str(id_) if id_ is not None and id_ != "" else uuid.uuid4().hex if self.key_field else None

    def _answer(self, key: str | None, metric: str) -> Any:
        """What Kaneda's own answered."""
        return True


def place_url(
    scheme: str, hosts: list[str], name: str, options: Mapping[str, Any], user: Any = None, password: Any = None
) -> str:
    """The URL of one of our backends."""
    login = ""
    if user or password:
        login = quote(str(user or ""), safe="") + (f":{quote(str(password), safe='')}" if password else "") + "@"
    given = {key: value for key, value in options.items() if value not in (None, "")}
    return f"{scheme}://{login}{','.join(hosts)}/{quote(name, safe='')}?{urlencode(given)}"


def hosts_of(host: Any, port: Any, default_port: int) -> list[str]:
    """`host` and `port` as Kaneda took them, a text or a list, as `host:port`."""
    hosts = host if isinstance(host, list | tuple) else [host]
    return [_with_port(str(each or "localhost"), port or default_port) for each in hosts]


def _with_port(host: str, port: Any) -> str:
    if "://" in host:
        host = urlsplit(host).netloc.rpartition("@")[2]
    bare = host.startswith("[") or host.count(":") > 1
    if bare:
        return host if "]:" in host else f"[{host.strip('[]')}]:{port}"
    return host if ":" in host else f"{host}:{port}"
