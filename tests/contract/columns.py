"""The columns of the table of the documentation: each backend on each server that it is proven on.

A test class says its column by `column = "postgresql"`, by its `server`, by its marker `service`, or by its own name or
that of its file: `TestInfluxdb3…`, `test_parquet.py`. The version in a column's head is the server's own word.
"""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Callable
from typing import Any, Final

import clickhouse_connect
import duckdb
import psycopg
import pymongo
import pytest
from tests.services import service

_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _search(name: str) -> str:
    with _DIRECT.open(service(name), timeout=10) as answer:
        return str(json.load(answer)["version"]["number"])


def _influxdb(name: str) -> str:
    with _DIRECT.open(f"{service(name)}/ping", timeout=10) as answer:
        return str(answer.headers["X-Influxdb-Version"]).removeprefix("v")


def _postgresql() -> str:
    with psycopg.connect(service("postgresql")) as connection:
        return str(connection.info.parameter_status("server_version")).split()[0]


def _mongodb(name: str) -> str:
    """Of which MongoDB it speaks the protocol: neither of the servers is MongoDB's own."""
    with pymongo.MongoClient[dict[str, Any]](service(name)) as client:
        return str(client.server_info()["version"])


def _clickhouse() -> str:
    host, _, port = service("clickhouse").rpartition("/")[2].rpartition(":")
    with clickhouse_connect.get_client(host=host, port=int(port)) as client:
        return str(client.server_version)


COLUMNS: Final[dict[str, Callable[[], str]]] = {
    "memory": lambda: "Memory",
    "sqlite": lambda: f"SQLite {sqlite3.sqlite_version}",
    "parquet": lambda: f"Parquet (DuckDB {duckdb.__version__})",
    "postgresql": lambda: f"PostgreSQL {_postgresql()}",
    "clickhouse": lambda: f"ClickHouse {_clickhouse()} (chdb)",
    "mongodb": lambda: f"MongoDB {_mongodb('mongodb')} (SecantusDB)",
    "mongodb-java": lambda: f"MongoDB {_mongodb('mongodb-java')} (mongo-java-server)",
    "influxdb1": lambda: f"InfluxDB {_influxdb('influxdb1')}",
    "influxdb2": lambda: f"InfluxDB {_influxdb('influxdb2')}",
    "influxdb3": lambda: "InfluxDB 3 (stand-in)",
    "rethinkdb": lambda: "RethinkDB (stand-in)",
    "elasticsearch7": lambda: f"Elasticsearch {_search('elasticsearch7')}",
    "elasticsearch8": lambda: f"Elasticsearch {_search('elasticsearch8')}",
    "elasticsearch": lambda: f"Elasticsearch {_search('elasticsearch')}",
    "opensearch": lambda: f"OpenSearch {_search('opensearch')}",
    "opensearch3": lambda: f"OpenSearch {_search('opensearch3')}",
}
"""Column → its head, in the order of the table."""


def column_of(item: pytest.Item) -> str | None:
    """The column that this test belongs to, if it is about one server."""
    cls = getattr(item, "cls", None)
    given = getattr(getattr(item, "callspec", None), "params", {})
    servers = [name for marker in item.iter_markers("service") for name in marker.args]
    file = item.path.stem.removeprefix("test_")
    version = given.get("version") or getattr(cls, "version", "")
    said = [
        getattr(cls, "column", None),
        getattr(cls, "server", None),
        given.get("server"),
        f"{file.partition('_')[0]}{version}" if version else None,
        _begins(cls.__name__.removeprefix("Test")) if cls else None,
        servers[0] if len(servers) == 1 else None,
        _begins(file),
    ]
    return next((column for column in said if column in COLUMNS), None)


def _begins(name: str) -> str | None:
    """The longest column with which a name begins."""
    plain = name.lower()
    return max((one for one in COLUMNS if plain.startswith(one.replace("-", ""))), key=len, default=None)
