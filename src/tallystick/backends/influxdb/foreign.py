"""Questions about what others wrote to InfluxDB 1 or 2: a measurement, a field with the value, tags.

The time is always the point's own. A metric's name may come from a tag; then each value of the tag is a metric.
"""

from __future__ import annotations

from tallystick.backends.base import Foreign
from tallystick.backends.influxdb.influxql import InfluxqlServer, identifier
from tallystick.backends.influxdb.query import Source, answer, one_of
from tallystick.errors import QueryError
from tallystick.queries import Query, Series
from tallystick.records import GAUGE


def answer_foreign(server: InfluxqlServer, query: Query, foreign: Foreign) -> list[Series]:
    """Raises `QueryError` for a measurement or column that is not there, and for a time that is not the point's."""
    known = _tags(server, foreign)
    conditions = []
    if foreign.kind is None:
        if query.kinds and GAUGE not in query.kinds:
            return []
    elif query.kinds:
        conditions.append(one_of(foreign.kind, query.kinds))
    if foreign.name is None:
        if not query.matches_name(foreign.source):
            return []
    else:
        names = _names(server, foreign, foreign.name)
        wanted = [name for name in names if query.matches_name(name)]
        if not wanted:
            return []
        conditions.append(one_of(foreign.name, wanted))
    for tag, values in query.where.items():
        texts = [value for value in values if value]  # to the server an empty tag is none
        if tag not in foreign.tags or not texts:
            return []
        conditions.append(one_of(foreign.tags[tag], texts))
    by = [foreign.tags.get(tag, _absent(known)) for tag in query.by]
    value = foreign.value
    return answer(
        server,
        query,
        Source([foreign.source], conditions, by, value, counted=value, moment=None, name_tag=foreign.name, own=()),
    )


def _tags(server: InfluxqlServer, foreign: Foreign) -> set[str]:
    """The measurement's tags, when all is there that is asked for."""
    if foreign.time != "time" or foreign.time_unit != "native":
        raise QueryError(f"time: {foreign.time!r} in {foreign.time_unit}; InfluxDB has points by their own time alone")
    if foreign.value not in server.fields().get(foreign.source, {}):
        raise QueryError(f"{foreign.source}: {server.address} has no such measurement with the field {foreign.value}")
    (answered,) = server.ask([f"SHOW TAG KEYS FROM {server.source(foreign.source)}"])
    known = {row[0] for rows in answered for row in rows.values}
    wanted = {*foreign.tags.values(), *filter(None, (foreign.name, foreign.kind))}
    if wanted - known:
        raise QueryError(f"{foreign.source}: no tag {', '.join(sorted(wanted - known))}; it has {sorted(known)}")
    return known


def _names(server: InfluxqlServer, foreign: Foreign, tag: str) -> list[str]:
    statement = f"SHOW TAG VALUES FROM {server.source(foreign.source)} WITH KEY = {identifier(tag)}"
    return [row[1] for rows in server.ask([statement])[0] for row in rows.values]


def _absent(known: set[str]) -> str:
    """A tag that no point has, to stand for one that is not mapped: every record is without it."""
    name = "absent"
    while name in known:
        name += "_"
    return name
