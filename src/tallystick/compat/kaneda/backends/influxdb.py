"""Kaneda's InfluxDB backend."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

from tallystick.compat.kaneda.backends.base import Stored, hosts_of, place_url
from tallystick.compat.kaneda.engine import Engine
from tallystick.compat.kaneda.exceptions import ImproperlyConfigured

LEAST_SECONDS = 10.0


class InfluxBackend(Stored):
    """Points in `database`, with `connection_url` in the database that the URL names, and with `client`, an
    `InfluxDBClient` of the driver `influxdb`, in the client's. `timeout` is in seconds.

    The driver is needed for the attribute `client` alone.
    """

    settings_namespace = "INFLUX"

    def __init__(
        self,
        database: str,
        client: Any = None,
        connection_url: Any = None,
        host: Any = None,
        port: Any = None,
        username: Any = None,
        password: Any = None,
        timeout: float = 0.3,
    ) -> None:
        self.database = database
        self.timeout = timeout
        self._connection_url = connection_url
        self._login = (username, password)
        self._place = ("influxdb", hosts_of(host, port, 8086), database)
        if client is not None:
            if not any(cls.__name__ == "InfluxDBClient" for cls in type(client).__mro__):
                raise ImproperlyConfigured('"client" parameter is not an instance of InfluxDBClient client')
            self.__dict__["client"] = client
            scheme = "influxdb+https" if getattr(client, "_ssl", False) else "influxdb"
            self._place = (scheme, [f"{client._host}:{client._port}"], client._database or database)
            self._login = (client._username, client._password)
        elif connection_url:
            parts = urlsplit(connection_url)
            scheme = "influxdb+https" if "https" in parts.scheme else "influxdb"
            self._place = (scheme, [f"{parts.hostname}:{parts.port or 8086}"], parts.path.strip("/") or database)
            self._login = (unquote(parts.username or ""), unquote(parts.password or ""))
        self.engine = Engine(("influxdb", self._url), lambda: self._url)

    @property
    def _url(self) -> str:
        scheme, hosts, database = self._place
        options = {
            "shape": "kaneda",
            "connect_timeout_seconds": self.timeout,
            "timeout_seconds": max(LEAST_SECONDS, self.timeout or 0),
            "allow_plain_credentials": "yes" if self._login[1] and scheme == "influxdb" else None,
        }
        return place_url(scheme, hosts, database, options, *self._login)

    @cached_property
    def client(self) -> Any:
        """A client of the driver's, made when it is asked for."""
        try:
            make = import_module("influxdb").InfluxDBClient
        except ImportError as error:
            raise ImproperlyConfigured("You need to install the driver of the client: pip install influxdb") from error
        if self._connection_url:
            return make.from_dsn(self._connection_url, timeout=self.timeout)
        host, _, port = self._place[1][0].rpartition(":")
        user, password = self._login
        return make(host, int(port), user or "root", password or "root", self.database, timeout=self.timeout)
