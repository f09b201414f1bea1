"""Kaneda's Elasticsearch backend."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

from tallystick.backends.elasticsearch import ElasticsearchBackend as Target
from tallystick.compat.kaneda.backends.base import Stored, hosts_of, place_url
from tallystick.compat.kaneda.documents import now_day
from tallystick.compat.kaneda.elastic import elastic
from tallystick.compat.kaneda.engine import Engine
from tallystick.compat.kaneda.exceptions import ImproperlyConfigured
from tallystick.errors import SettingsError

LEAST_SECONDS = 10.0
"""A bulk of thousands of records has at least this long, whatever `timeout` one document had."""


class ElasticsearchBackend(Stored):
    """Documents in `<index_name>-YYYY.MM.DD`.

    `app_name` stands in each document. `client` is an `Elasticsearch` of the driver, version 7, 8 or 9;
    `connection_url` a URL or a list of them; `host` a host or a list; `timeout` is in seconds, of connecting and of
    each call of `client`.
    """

    settings_namespace = "ELASTIC"
    key_field = "_id"

    def __init__(
        self,
        index_name: str,
        app_name: str,
        client: Any = None,
        connection_url: Any = None,
        host: Any = None,
        port: Any = None,
        user: Any = None,
        password: Any = None,
        timeout: float = 0.3,
    ) -> None:
        _driver("elastic_transport")
        self.index_name = index_name
        self.app_name = app_name
        self.timeout = timeout
        self._hosts, self._login, self._tls = hosts_of(host, port, 9200), (user, password), False
        if client is not None:
            if not _is_client(client):
                raise ImproperlyConfigured('"client" parameter is not an instance of Elasticsearch client')
            self.__dict__["client"] = client
        elif connection_url:
            self._read(connection_url)
        self.engine = Engine(("elasticsearch", index_name, id(client) if client else self._url), self._target, app_name)

    def _read(self, urls: Any) -> None:
        parts = [urlsplit(url) for url in (urls if isinstance(urls, list | tuple) else [urls])]
        self._tls = parts[0].scheme == "https"
        hosts = (f"{part.hostname}:{part.port or (443 if self._tls else 9200)}" for part in parts)
        self._hosts = list(dict.fromkeys(hosts))
        logins = [part for part in parts if part.username]
        if logins:
            self._login = (unquote(logins[0].username or ""), unquote(logins[0].password or ""))

    @property
    def _url(self) -> str:
        options = {
            "shape": "kaneda",
            "connect_timeout_seconds": self.timeout,
            "timeout_seconds": max(LEAST_SECONDS, self.timeout or 0),
            "allow_plain_credentials": "yes" if self._login[1] and not self._tls else None,
        }
        scheme = "elasticsearch+https" if self._tls else "elasticsearch"
        return place_url(scheme, self._hosts, self.index_name, options, *self._login)

    def _target(self) -> Any:
        client = self.__dict__.get("client")
        if client is None:
            return self._url
        try:
            return Target(client=client, index=self.index_name, shape=elastic(self.index_name, ""))
        except SettingsError:  # a client of version 7 or older, which has another transport: we go to its hosts
            self._read([_address(host) for host in client.transport.hosts])
            return self._url

    @cached_property
    def client(self) -> Any:
        """A client of the driver's, made when it is asked for."""
        driver = _driver("elasticsearch", "elasticsearch8")
        urls = [f"{'https' if self._tls else 'http'}://{host}" for host in self._hosts]
        login = {} if not self._login[1] else {"basic_auth": self._login}
        if driver.__version__[0] < 8:
            return driver.Elasticsearch(urls, timeout=self.timeout, http_auth=self._login if login else None)
        return driver.Elasticsearch(urls, request_timeout=self.timeout, **login)

    def _answer(self, key: str | None, metric: str) -> Any:
        return {"_index": f"{self.index_name}-{now_day()}", "_type": metric, "_id": key, "result": "created"}


def _driver(*names: str) -> Any:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise ImproperlyConfigured(
        "You need to install a driver to use Elasticsearch: pip install 'tallystick[elasticsearch]'"
    )


def _is_client(client: object) -> bool:
    return any(cls.__name__ in ("Elasticsearch", "OpenSearch") for cls in type(client).__mro__)


def _address(host: dict[str, Any]) -> str:
    """One of the hosts that an older client was given."""
    login = f"{host['http_auth']}@" if host.get("http_auth") else ""
    return f"{'https' if host.get('use_ssl') else 'http'}://{login}{host['host']}:{host.get('port', 9200)}"
