# ruff: noqa: S608  (only names of ours are pasted into SQL here, quoted)
"""The tables of a PostgreSQL store, in a schema of their own, and how they come to be.

- `points` holds the records, partitioned by the day of their own time. Days near the present get a partition when their
  first record comes, so that forgetting a day is dropping a table; all other days share `points_other`.
- `documents` holds the records with an id of the caller's own: one row an id, whatever its day.
- `segments` says once what the records of a segment share, and `ledger` which ranges of it are stored.
- The view `records` joins it all for people: `SELECT * FROM tallystick.records WHERE name = 'user.signup'`.
"""

from __future__ import annotations

import time
from typing import Any, Final

from tallystick.errors import Misconfigured

SCHEMA: Final = 1
"""The number in `meta`. A store with a larger one is refused."""

DAY_NS: Final = 86_400 * 10**9
DAYS_BACK, DAYS_AHEAD = 400, 3
"""Days this near to the present have partitions of their own."""

TABLES_LOCK: Final = 0x7A11_E571
SEGMENT_LOCK: Final = 0x7A11_E572
"""First keys of our advisory locks; the second is of the schema or of the segment, so that a table of one schema that
somebody has locked holds up no other."""

_RECORD: Final = {
    "timestamp_ns": "bigint NOT NULL",
    "segment": "integer NOT NULL",
    "place": "bigint NOT NULL",
    "name": "text NOT NULL",
    "kind": "text NOT NULL",
    "unit": "text",
    "value": "double precision",
    "whole": "bigint",
    "content": "text",
    "tags": "jsonb NOT NULL",
    "sample_rate": "double precision NOT NULL",
    "extra": "json",
    "own_id": "text",
}
"""`value` is what aggregates see; `whole` keeps an integer exactly, `content` a text, or a document as JSON; `extra`
says what these columns cannot (types, words, metadata)."""

COLUMNS: Final = ", ".join(_RECORD)

TABLES: Final = {
    "meta": {"key": "text PRIMARY KEY", "value": "bigint NOT NULL"},
    "segments": {
        "id": "integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "segment": "text NOT NULL UNIQUE",
        "host": "text NOT NULL",
        "pid": "bigint NOT NULL",
        "app": "text NOT NULL",
        "started": "bigint NOT NULL",
        "written": "timestamptz NOT NULL DEFAULT now()",
    },
    "ledger": {"segment": "integer NOT NULL", "start": "bigint NOT NULL", "stop": "bigint NOT NULL"},
    "points": _RECORD,
    "documents": _RECORD,
}
"""The columns of each table, and what they are."""


def _table(name: str, constraint: str = "", rest: str = "") -> str:
    columns = [f"{column} {what}" for column, what in TABLES[name].items()]
    return f"CREATE TABLE IF NOT EXISTS {{s}}.{name} ({', '.join([*columns, *filter(None, [constraint])])}){rest}"


MADE: Final = {
    "meta": _table("meta"),
    "segments": _table("segments"),
    "ledger": _table("ledger", "PRIMARY KEY (segment, start)"),
    "points": _table("points", rest=" PARTITION BY RANGE (timestamp_ns)"),
    "points_name": "CREATE INDEX IF NOT EXISTS points_name ON {s}.points (name, timestamp_ns)",
    "points_other": "CREATE TABLE IF NOT EXISTS {s}.points_other PARTITION OF {s}.points DEFAULT",
    "documents": _table("documents", "PRIMARY KEY (own_id)"),
    "documents_name": "CREATE INDEX IF NOT EXISTS documents_name ON {s}.documents (name, timestamp_ns)",
    "everything": f"""
    CREATE OR REPLACE VIEW {{s}}.everything AS
    SELECT {COLUMNS} FROM {{s}}.points UNION ALL SELECT {COLUMNS} FROM {{s}}.documents
    """,
    "records": """
    CREATE OR REPLACE VIEW {s}.records AS
    SELECT to_timestamp(timestamp_ns / 1e9) AS time, e.name, e.kind,
        coalesce(e.content, e.whole::text, e.value::text) AS value, e.unit, e.tags, e.extra -> 'metadata' AS metadata,
        s.host, s.app, s.pid, coalesce(e.own_id, s.segment || '-' || e.place) AS id, e.timestamp_ns, e.sample_rate
    FROM {s}.everything e JOIN {s}.segments s ON s.id = e.segment
    """,
}
"""Tables, indexes and views by name, in an order in which they can be made."""

_NUMBER: Final = "INSERT INTO {s}.meta VALUES ('schema', 1) ON CONFLICT DO NOTHING"


_GRANTED: Final = (
    "GRANT USAGE ON SCHEMA {s} TO {user}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {s} TO {user}",
    "GRANT SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {s} TO {user}",
)


def script(schema: str, user: str) -> str:
    """What an administrator runs for a user who may not create anything, but then may write; also a second time."""
    s, user = quoted(schema), quoted(user)
    statements = ["CREATE SCHEMA IF NOT EXISTS {s}", *MADE.values(), _NUMBER, *_GRANTED]
    return ";\n".join(" ".join(statement.format(s=s, user=user).split()) for statement in statements) + ";"


def version(connection: Any, schema: str) -> int | None:
    """The schema number of the store; None when it has no tables of ours."""
    if "meta" in missing(connection, schema):
        return None
    found = connection.execute(f"SELECT value FROM {quoted(schema)}.meta WHERE key = 'schema'").fetchone()
    return int(found[0]) if found else None


def missing(connection: Any, schema: str) -> list[str]:
    """What of `MADE` is not there. Asks the catalog itself: `to_regclass` may still know what was before a lock."""
    there = "SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relname = made"
    rows = connection.execute(
        f"SELECT made FROM unnest(%s::text[]) AS made WHERE NOT EXISTS ({there})", (list(MADE), schema)
    ).fetchall()
    return [name for (name,) in rows]


def ensure(connection: Any, schema: str) -> list[str]:
    """Create what is missing; says what was done. Raises `Misconfigured` for a store of a newer version."""
    found = version(connection, schema)
    if found is not None and found > SCHEMA:
        raise Misconfigured(
            f"the tables in {schema} have schema {found}, this version knows up to {SCHEMA}; upgrade tallystick"
        )
    if found == SCHEMA and not missing(connection, schema):
        return []
    with connection.transaction():
        lock_tables(connection, schema)
        absent = missing(connection, schema)  # another process may have made them meanwhile
        if "meta" in absent:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
        for name in absent:
            connection.execute(MADE[name].format(s=quoted(schema)))
        if absent:
            connection.execute(_NUMBER.format(s=quoted(schema)))
    if len(absent) == len(MADE):
        return [f"created the tables of schema {SCHEMA} in {schema}"]
    return [f"created {schema}.{name}, which was missing" for name in absent]


def lock_tables(connection: Any, schema: str) -> None:
    """Wait until nobody else makes tables of this schema, or numbers its segments, until this transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (TABLES_LOCK, schema))


class Days:
    """Which days have a partition of their own; makes it for a day that needs one."""

    def __init__(self, connection: Any, schema: str, may_create: bool) -> None:
        self._connection = connection
        self._schema = schema
        self._wanted = may_create
        self._may_create: bool | None = None  # until a day needs it
        self._known: set[int] = set()

    def have(self, days: set[int]) -> None:
        """Have partitions for those of these days (since the epoch) that are near the present."""
        today = time.time_ns() // DAY_NS
        for day in sorted(days - self._known):
            if self._wanted and today - DAYS_BACK <= day <= today + DAYS_AHEAD and self._allowed():
                self._make(day)
            self._known.add(day)

    def _allowed(self) -> bool:
        """Whether this user may make one. Who only has the rights that `script` gives writes to `points_other`."""
        if self._may_create is None:
            sql = (
                "SELECT pg_has_role(c.relowner, 'USAGE') AND has_schema_privilege(c.relnamespace, 'CREATE')"
                " FROM pg_class c WHERE c.oid = to_regclass(%s)"
            )
            found = self._connection.execute(sql, (f"{quoted(self._schema)}.points",)).fetchone()
            self._may_create = found is None or found[0]
        return self._may_create

    def _make(self, day: int) -> None:
        table = f"{quoted(self._schema)}.{partition(day)}"
        with self._connection.transaction():
            lock_tables(self._connection, self._schema)
            if self._connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()[0] is not None:
                return
            start, stop = day * DAY_NS, (day + 1) * DAY_NS
            points = f"{quoted(self._schema)}.points"
            other = f"{quoted(self._schema)}.points_other"
            inside = self._connection.execute(
                f"SELECT 1 FROM {other} WHERE timestamp_ns >= %s AND timestamp_ns < %s LIMIT 1", (start, stop)
            ).fetchone()
            if inside is None:  # else the day began before it was near, and stays where it is
                self._connection.execute(
                    f"CREATE TABLE {table} PARTITION OF {points} FOR VALUES FROM ({start}) TO ({stop})"
                )


def partition(day: int) -> str:
    """The name of a day's table: `points_2026_11_21`."""
    return time.strftime("points_%Y_%m_%d", time.gmtime(day * 86_400))


def day_partitions(connection: Any, schema: str) -> list[tuple[str, int]]:
    """The days' tables, and when each begins, in nanoseconds."""
    rows = connection.execute(
        "SELECT c.relname, substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \\(''(-?[0-9]+)''\\)')"
        " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(%s) ORDER BY 1",
        (f"{quoted(schema)}.points",),
    ).fetchall()
    return [(name, int(start)) for name, start in rows if start is not None]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
