# ruff: noqa: S608  (pieces of InfluxQL are put together here; every name in them is quoted)
"""Looking after what is in InfluxDB 1 and 2: whether all is well, what is there, and forgetting the old."""

from __future__ import annotations

from typing import Any, Final

from tallystick.backends.base import Line
from tallystick.backends.influxdb.http import Missing, Unseen
from tallystick.backends.influxdb.influxql import InfluxqlServer, identifier
from tallystick.backends.influxdb.lines import EARLIEST_NS, STEP_NS

SLICE_NS: Final = 7 * 86_400_000_000_000
"""What one call deletes at most: a week, which is mostly one file of the server's."""


def check(server: InfluxqlServer, *, may_make: bool) -> list[Line]:
    """Not `may_make` is `setup=no`, with which a token will do that may write and not look."""
    try:
        server.prepare(create=False)
    except Missing as error:
        if isinstance(error, Unseen) and not may_make:
            return [Line(ok=True, what=f"{server.address} answers; whether it has the bucket this token may not see")]
        return [Line(ok=False, what=str(error), remedy="tallystick setup creates it, where this user or token may")]
    return [Line(ok=True, what=f"{server.address} is there")]


def ours(server: InfluxqlServer) -> list[str]:
    return [name for name, fields in server.fields().items() if fields.get("timestamp_ns") == "integer"]


def indices(server: InfluxqlServer) -> list[dict[str, Any]]:
    """One for each measurement; the server does not tell their sizes."""
    found = []
    counted = 'count("timestamp_ns"), min("timestamp_ns"), max("timestamp_ns")'
    for name in ours(server):
        for rows in server.ask([f"SELECT {counted} FROM {identifier(name)}"])[0]:
            _, count, oldest, newest = rows.values[0]
            seconds = {"oldest": oldest / 1e9, "newest": newest / 1e9}
            found.append({"name": name, "records": count, "size_bytes": None, **seconds})
    return found


def prune(server: InfluxqlServer, before_ns: int) -> int:
    """Delete in slices what is older, as far as a whole hundredth of a second is; how many points went."""
    end, gone = before_ns // STEP_NS * STEP_NS, 0
    for name in ours(server):
        select = f'SELECT count("timestamp_ns") FROM {identifier(name)} WHERE time >= {EARLIEST_NS} AND time < {end}'
        for rows in server.ask([f"{select} GROUP BY time({SLICE_NS}ns) fill(none)"])[0]:
            for start, count in rows.values:
                server.delete(name, {}, max(start, EARLIEST_NS), min(start + SLICE_NS, end) - 1)
                gone += count
    return gone
