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

from tallystick.backends.base import Line
from tallystick.errors import Misconfigured

SCHEMA: Final = 1
"""The number in `meta`. A store with a larger one is refused."""

DAY_NS: Final = 86_400 * 10**9
DAYS_BACK, DAYS_AHEAD = 400, 3
"""Days this near to the present have partitions of their own."""

LOCK: Final = 0x7A11_E571
"""The advisory lock under which tables are made."""

COLUMNS: Final = (
    "timestamp_ns, segment, place, name, kind, unit, value, whole, content, tags, sample_rate, extra, own_id"
)

_COLUMN_TYPES: Final = """
    timestamp_ns bigint NOT NULL,
    segment integer NOT NULL,
    place bigint NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    unit text,
    value double precision,
    whole bigint,
    content text,
    tags jsonb NOT NULL,
    sample_rate double precision NOT NULL,
    extra json,
    own_id text
"""
"""`value` is what aggregates see; `whole` keeps an integer exactly, `content` a text, or a document as JSON; `extra`
says what these columns cannot (types, words, metadata)."""

MADE: Final = {
    "meta": "CREATE TABLE {s}.meta (key text PRIMARY KEY, value bigint NOT NULL)",
    "segments": """
    CREATE TABLE {s}.segments (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        segment text NOT NULL UNIQUE,
        host text NOT NULL,
        pid bigint NOT NULL,
        app text NOT NULL,
        started bigint NOT NULL,
        written timestamptz NOT NULL DEFAULT now()
    )
    """,
    "ledger": """
    CREATE TABLE {s}.ledger (
        segment integer NOT NULL,
        start bigint NOT NULL,
        stop bigint NOT NULL,
        PRIMARY KEY (segment, start)
    )
    """,
    "points": f"CREATE TABLE {{s}}.points ({_COLUMN_TYPES}) PARTITION BY RANGE (timestamp_ns)",
    "points_name": "CREATE INDEX points_name ON {s}.points (name, timestamp_ns)",
    "points_other": "CREATE TABLE {s}.points_other PARTITION OF {s}.points DEFAULT",
    "documents": f"CREATE TABLE {{s}}.documents ({_COLUMN_TYPES}, PRIMARY KEY (own_id))",
    "documents_name": "CREATE INDEX documents_name ON {s}.documents (name, timestamp_ns)",
    "everything": f"""
    CREATE VIEW {{s}}.everything AS
    SELECT {COLUMNS} FROM {{s}}.points UNION ALL SELECT {COLUMNS} FROM {{s}}.documents
    """,
    "records": """
    CREATE VIEW {s}.records AS
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
)


def script(schema: str, user: str) -> str:
    """What an administrator runs for a user who may not create anything, and who then writes with `setup=no`."""
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
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
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


class Days:
    """Which days have a partition of their own; makes it for a day that needs one."""

    def __init__(self, connection: Any, schema: str, may_create: bool) -> None:
        self._connection = connection
        self._schema = schema
        self._may_create = may_create
        self._known: set[int] = set()

    def have(self, days: set[int]) -> None:
        """Have partitions for those of these days (since the epoch) that are near the present."""
        today = time.time_ns() // DAY_NS
        for day in sorted(days - self._known):
            if self._may_create and today - DAYS_BACK <= day <= today + DAYS_AHEAD:
                self._make(day)
            self._known.add(day)

    def _make(self, day: int) -> None:
        table = f"{quoted(self._schema)}.{partition(day)}"
        with self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
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


def check(connection: Any, schema: str) -> list[Line]:
    found = version(connection, schema)
    if found is None:
        return [Line(ok=False, what=f"no tables of ours in schema {schema}", remedy="run `tallystick setup`")]
    if found != SCHEMA:
        return [Line(ok=False, what=f"schema {found}, this version makes {SCHEMA}", remedy="upgrade tallystick here")]
    lines = [Line(ok=True, what=f"schema {found} in {schema}")]
    absent = missing(connection, schema)
    lines += [Line(ok=False, what=f"{schema}.{name} is missing", remedy="run `tallystick setup`") for name in absent]
    for table in ("segments", "ledger", "points", "points_other", "documents"):
        place = f"{quoted(schema)}.{table}"
        sql = "SELECT has_table_privilege(%s, 'INSERT')"
        if table not in absent and not connection.execute(sql, (place,)).fetchone()[0]:
            lines.append(Line(ok=False, what=f"{place} may not be written by this user", remedy="GRANT it the right"))
    return lines


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
