"""Kaneda's MongoDB backend."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tallystick.backends.mongodb import MongodbBackend as Target
from tallystick.compat.kaneda.backends.base import Stored, hosts_of, place_url
from tallystick.compat.kaneda.engine import Engine
from tallystick.compat.kaneda.exceptions import ImproperlyConfigured
from tallystick.compat.kaneda.shapes import Mongo


class Inserted:
    """As PyMongo answers: the key that the document will have."""

    def __init__(self, inserted_id: Any) -> None:
        self.inserted_id = inserted_id
        self.acknowledged = True

    def __repr__(self) -> str:
        return f"Inserted({self.inserted_id!r})"


class MongoBackend(Stored):
    """Documents in the collection `collection_name` of the database `db_name`.

    `client` is a `pymongo.MongoClient`, `connection_url` a URL of MongoDB; `timeout` is in milliseconds, for finding a
    server.
    """

    settings_namespace = "MONGO"
    key_field = "_id"

    def __init__(
        self,
        db_name: str,
        collection_name: str,
        client: Any = None,
        connection_url: Any = None,
        host: Any = None,
        port: Any = None,
        timeout: float = 300,
    ) -> None:
        pymongo = _driver()
        self.db_name = db_name
        self.collection_name = collection_name
        self.timeout = timeout
        self._connection_url = connection_url
        self._host, self._port = host, port
        if client is not None:
            if not isinstance(client, pymongo.MongoClient):
                raise ImproperlyConfigured('"client" parameter is not an instance of MongoClient')
            self.__dict__["client"] = client
        where = id(client) if client is not None else self._url
        self.engine = Engine(("mongodb", db_name, collection_name, where), self._target)

    @property
    def _url(self) -> str:
        options = {
            "collection": self.collection_name,
            "shape": "kaneda",
            "connect_timeout_seconds": (self.timeout or 300) / 1000,
        }
        if not self._connection_url:
            return place_url("mongodb", hosts_of(self._host, self._port, 27017), self.db_name, options)
        parts = urlsplit(self._connection_url)
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        theirs = dict(parse_qsl(parts.query))
        if parts.path.strip("/") and user and "authSource" not in theirs:
            theirs["authSource"] = parts.path.strip("/")
        if password:
            theirs["allow_plain_credentials"] = "yes"
        all_options = {**theirs, **options}
        return place_url(parts.scheme, hosts.split(","), self.db_name, all_options, unquote(user), unquote(password))

    def _target(self) -> Any:
        client = self.__dict__.get("client")
        if client is None:
            return self._url
        shape = Mongo(self.collection_name, "")
        return Target(client=client, database=self.db_name, collection=self.collection_name, shape=shape)

    @cached_property
    def client(self) -> Any:
        """A client of the driver's, made when it is asked for."""
        make = _driver().MongoClient
        if self._connection_url:
            return make(self._connection_url, serverSelectionTimeoutMS=self.timeout)
        return make(host=self._host, port=self._port, serverSelectionTimeoutMS=self.timeout)

    @property
    def collection(self) -> Any:
        return self.client[self.db_name][self.collection_name]

    def _answer(self, key: str | None, metric: str) -> Any:
        return Inserted(key)


def _driver() -> Any:
    try:
        import pymongo
    except ImportError as error:
        raise ImproperlyConfigured("You need to install pymongo: pip install 'tallystick[mongodb]'") from error
    return pymongo
