"""Kaneda's RethinkDB backend."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

from tallystick.backends.rethinkdb import RethinkdbBackend as Target
from tallystick.compat.kaneda.backends.base import Stored, hosts_of, place_url
from tallystick.compat.kaneda.engine import Engine
from tallystick.compat.kaneda.exceptions import ImproperlyConfigured
from tallystick.compat.kaneda.shapes import Rethink, table_of


class RethinkBackend(Stored):
    """Documents in the database `db`, all in the table `table_name`, or without one in a table for each kind.

    `connection` is a connection of the driver's: documents go to the database that it is connected to. `timeout` is in
    seconds.
    """

    settings_namespace = "RETHINK"
    key_field = "id"

    def __init__(
        self,
        db: str,
        table_name: str | None = None,
        connection: Any = None,
        host: Any = None,
        port: Any = None,
        user: Any = None,
        password: Any = None,
        timeout: float = 0.3,
    ) -> None:
        _driver()
        self.db = db
        self.table_name = table_name
        self.timeout = timeout
        self._host, self._port = host, port
        self._login = (user, password)
        if connection is not None:
            if not hasattr(connection, "is_open"):
                raise ImproperlyConfigured('"connection" parameter is not a connection of RethinkDB')
            self.__dict__["connection"] = connection
        where = id(connection) if connection is not None else self._url
        self.engine = Engine(("rethinkdb", db, table_name, where), self._target)

    @property
    def _url(self) -> str:
        options = {
            "table": self.table_name,
            "shape": "kaneda" if self.table_name else "kaneda:tables",
            "connect_timeout_seconds": max(1.0, self.timeout or 0),
            "allow_plain_credentials": "yes" if self._login[1] else None,
        }
        return place_url("rethinkdb", hosts_of(self._host, self._port, 28015), self.db, options, *self._login)

    def _target(self) -> Any:
        connection = self.__dict__.get("connection")
        if connection is None:
            return self._url
        table = self.table_name or "tallystick"
        shape = Rethink(table, "" if self.table_name else "tables")
        return Target(client=connection, database=getattr(connection, "db", None) or self.db, table=table, shape=shape)

    @cached_property
    def connection(self) -> Any:
        """A connection of the driver's, made when it is asked for."""
        user, password = self._login
        login = {"user": user, "password": password} if user and password else {}
        place = {"host": self._host or "localhost", "port": self._port or 28015}
        return _driver().r.connect(db=self.db, timeout=max(1, round(self.timeout or 0)), **place, **login)

    def _answer(self, key: str | None, metric: str) -> Any:
        answer = {"deleted": 0, "errors": 0, "inserted": 1, "replaced": 0, "skipped": 0, "unchanged": 0}
        return {**answer, "generated_keys": [key], "table": self.table_name or table_of(metric)}


def _driver() -> Any:
    try:
        return import_module("rethinkdb")
    except ImportError as error:
        raise ImproperlyConfigured("You need to install rethinkdb: pip install 'tallystick[rethinkdb]'") from error
