"""Looking after a RethinkDB table: database, table and index, what is in it, and forgetting the old."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from tallystick.backends.base import Line
from tallystick.backends.rethinkdb.connection import driver
from tallystick.backends.rethinkdb.shape import SECOND_NS, moment

INDEX: Final = "moment"
SLICE: Final = 5_000

Run = Callable[[Any], Any]


def ensure(run: Run, database: str, table: str, indexes: tuple[tuple[str, ...], ...] = ((INDEX,),)) -> list[str]:
    """Create what is missing; says what was done. Two that do so at once do no harm. An index is of one field."""
    r = driver().r
    done = []
    if database not in run(r.db_list()):
        _create(run, r.db_create(database))
        done.append(f"created the database {database}")
    if table not in run(r.db(database).table_list()):
        _create(run, r.db(database).table_create(table))
        done.append(f"created the table {database}.{table}")
    run(r.db(database).table(table).wait())
    for (field,) in indexes:
        if field not in run(r.db(database).table(table).index_list()):
            _create(run, r.db(database).table(table).index_create(field))
            done.append(f"created the index {field} on {database}.{table}")
        run(r.db(database).table(table).index_wait(field))
    return done


def script(database: str, table: str, user: str) -> str:
    """What an administrator runs in the data explorer for a user who may not create anything. The explorer divides
    queries by `;` alone."""
    return (
        f'r.dbCreate("{database}");\n'
        f'r.db("{database}").tableCreate("{table}");\n'
        f'r.db("{database}").table("{table}").indexCreate("{INDEX}");\n'
        f'r.db("{database}").grant({json.dumps(user)}, {{read: true, write: true}});'
    )


def _create(run: Run, term: Any) -> None:
    failed = driver().errors.ReqlOpFailedError
    try:
        run(term)
    except failed as error:
        if "already exists" not in error.message:
            raise


def check(run: Run, database: str, table: str) -> list[Line]:
    r = driver().r
    remedy = "run `tallystick setup`"
    if database not in run(r.db_list()):
        return [Line(ok=False, what=f"database {database} is missing", remedy=remedy)]
    if table not in run(r.db(database).table_list()):
        return [Line(ok=False, what=f"table {database}.{table} is missing", remedy=remedy)]
    if INDEX not in run(r.db(database).table(table).index_list()):
        return [Line(ok=False, what=f"index {INDEX} is missing", remedy=remedy)]
    return [Line(ok=True, what=f"table {database}.{table}"), Line(ok=True, what=f"index {INDEX}")]


def size(run: Run, database: str, table: str) -> dict[str, Any]:
    """RethinkDB does not say how many bytes a table has."""
    r = driver().r
    whole = r.db(database).table(table)
    ends: list[float | None] = [None, None]
    for place, order in enumerate((INDEX, r.desc(INDEX))):
        with suppress(StopIteration):
            seconds, nanoseconds = next(iter(run(whole.order_by(index=order).limit(1))))["moment"]
            ends[place] = (int(seconds) * SECOND_NS + int(nanoseconds)) / 1e9
    return {
        "name": f"{database}.{table}",
        "records": run(whole.count()),
        "size_bytes": None,
        "oldest": ends[0],
        "newest": ends[1],
    }


def prune(run: Run, database: str, table: str, before_ns: int) -> int:
    """In slices of a moment each, so that other writers go on meanwhile."""
    r = driver().r
    old = r.db(database).table(table).between(r.minval, moment(before_ns), index=INDEX).limit(SLICE)
    gone = 0
    while deleted := run(old.delete(durability="hard"))["deleted"]:
        gone += deleted
    return gone
