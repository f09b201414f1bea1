"""Databases, tables and indexes: what is there, and how they are made."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

from tests.rethinkdb.data import FAILED, LOGIC, Failure, Table
from tests.rethinkdb.scalars import attribute

VERSION = "rethinkdb 2.4.4-10-g8de19b-dirty (x86_64-linux-gnu) (GCC 12.2.0)"


class Store:
    """`server_name` is the machine's, in the configuration of tables."""

    TERMS: ClassVar[dict[int, Callable[..., Any]]] = {}

    def __init__(self, server_name: str = "vm_98z") -> None:
        self.server_name = server_name
        self.databases: dict[str, dict[str, Table]] = {"rethinkdb": {}, "test": {}}
        status = Table("rethinkdb", "server_status", "")
        status.rows["1"] = {"id": "1", "name": server_name, "process": {"version": VERSION}}
        self.databases["rethinkdb"]["server_status"] = status

    def db(self, name: str) -> str:
        if name not in self.databases:
            raise Failure(FAILED, f"Database `{name}` does not exist.")
        return name

    def table(self, database: str, name: str) -> Table:
        found = self.databases[database].get(name)
        if found is None:
            raise Failure(FAILED, f"Table `{database}.{name}` does not exist.")
        return found

    def db_list(self) -> list[Any]:
        return sorted(self.databases)

    def db_create(self, name: str) -> Any:
        _check("Database", name, 0)
        if name in self.databases:
            raise Failure(FAILED, f"Database `{name}` already exists.")
        self.databases[name] = {}
        new = {"id": str(uuid.uuid4()), "name": name}
        return {"config_changes": [{"new_val": new, "old_val": None}], "dbs_created": 1.0}

    def db_drop(self, name: str) -> Any:
        gone = self.databases.pop(self.db(name))
        return {"dbs_dropped": 1.0, "tables_dropped": float(len(gone)), "config_changes": []}

    def table_list(self, database: str) -> list[Any]:
        return sorted(self.databases[database])

    def table_create(self, database: str, name: str) -> Any:
        _check("Table", name, 1)
        if name in self.databases[database]:
            raise Failure(FAILED, f"Table `{database}.{name}` already exists.")
        made = self.databases[database][name] = Table(database, name, str(uuid.uuid4()))
        return {"config_changes": [{"new_val": self.config(made), "old_val": None}], "tables_created": 1.0}

    def config(self, table: Table) -> Any:
        shard = {"nonvoting_replicas": [], "primary_replica": self.server_name, "replicas": [self.server_name]}
        return {
            "db": table.database,
            "durability": "hard",
            "id": table.id,
            "indexes": sorted(table.indexes),
            "name": table.name,
            "primary_key": "id",
            "shards": [shard],
            "write_acks": "majority",
            "write_hook": None,
        }

    def wait(self, table: Table) -> Any:
        return {"ready": 1.0}

    def index_create(self, table: Table, name: str, function: Any = None) -> Any:
        if name in table.indexes:
            raise Failure(FAILED, f"Index `{name}` already exists on table `{table.database}.{table.name}`.")
        table.indexes[name] = function or (lambda row: attribute(row, name))
        return {"created": 1.0}

    def index_drop(self, table: Table, name: str) -> Any:
        if table.indexes.pop(name, None) is None:
            raise Failure(FAILED, f"Index `{name}` does not exist on table `{table.database}.{table.name}`.")
        return {"dropped": 1.0}

    def index_list(self, table: Table) -> list[Any]:
        return sorted(table.indexes)

    def index_wait(self, table: Table, *names: str) -> list[Any]:
        same = {"geo": False, "multi": False, "outdated": False, "ready": True}
        function = {"$reql_type$": "BINARY", "data": "JHJlcWxfaW5kZXhfZnVuY3Rpb24k"}
        return [
            {"index": name, "function": function, "query": f"indexCreate('{name}', …)", **same}
            for name in names or sorted(table.indexes)
        ]


def _check(what: str, name: str, place: int) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise Failure(LOGIC, f"{what} name `{name}` invalid (Use A-Z, a-z, 0-9, _ and - only).", (place,))


Store.TERMS.update(
    {
        14: Store.db,
        15: Store.table,
        57: Store.db_create,
        58: Store.db_drop,
        59: Store.db_list,
        60: Store.table_create,
        62: Store.table_list,
        75: Store.index_create,
        76: Store.index_drop,
        77: Store.index_list,
        140: Store.index_wait,
        174: Store.config,
        177: Store.wait,
    }
)
