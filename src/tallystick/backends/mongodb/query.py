"""A `Query` as an aggregation pipeline: MongoDB does the counting.

Names and values of the question stand in a match or a `$literal`, never where MongoDB would read them as a path or an
operator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from tallystick.backends.base import Foreign
from tallystick.backends.mongodb.shape import escaped
from tallystick.queries import Query, Series, finish, is_pattern

Pipeline = list[dict[str, Any]]
Aggregate = Callable[[Pipeline], Iterable[dict[str, Any]]]

EXACT_PERCENTILES: Final = 200_000
"""Groups of up to so many numbers get their exact nearest rank; larger ones MongoDB's own estimate (7.0 and newer)."""

_SUMS: Final[dict[str, dict[str, Any]]] = {
    "count": {"c": {"$sum": "$w"}},
    "sum": {"s": {"$sum": {"$multiply": ["$v", "$w"]}}},
    "mean": {"s": {"$sum": {"$multiply": ["$v", "$w"]}}, "c": {"$sum": "$w"}},
    "min": {"v": {"$min": "$v"}},
    "max": {"v": {"$max": "$v"}},
    "last": {"v": {"$last": "$v"}},
    "rate": {"s": {"$sum": {"$multiply": ["$v", "$w"]}}, "oldest": {"$min": "$t"}, "newest": {"$max": "$t"}},
}


def answer(aggregate: Aggregate, query: Query, start: Pipeline) -> list[Series]:
    """`start` gives documents with t (ns), name, unit, v (a double, or absent), w (its weight), and the tags to group
    by as g0, g1, …"""
    pipeline = [*start, *_numbers(query)]
    if query.percentile is not None:
        rows = _percentiles(aggregate, query, pipeline)
    else:
        if query.aggregate == "last":
            pipeline.append({"$sort": {"t": 1, "v": 1}})
        rows = aggregate([*pipeline, {"$group": {"_id": _group(query), **_SUMS[query.aggregate]}}])
    points: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in rows:
        value = _value(query, row)
        if value is not None:
            key = row["_id"]
            moment = key["b"] / 1e9 if query.bucket_ns is not None else query.start or 0.0
            tags = [key.get(f"g{index}") for index in range(len(query.by))]
            points.setdefault((key["name"], key.get("unit"), *tags), []).append((moment, float(value)))
    series = [
        Series(name=name, unit=unit, tags=dict(zip(query.by, tags, strict=True)), points=sorted(found))
        for (name, unit, *tags), found in points.items()
    ]
    return finish(series, query.limit)


def _value(query: Query, row: dict[str, Any]) -> float | None:
    match query.aggregate:
        case "count":
            return row["c"]  # type: ignore[no-any-return]
        case "sum":
            return row["s"]  # type: ignore[no-any-return]
        case "mean":
            return row["s"] / row["c"]  # type: ignore[no-any-return]
        case "rate":
            seconds = _seconds(query, row)
            return row["s"] / seconds if seconds else None
    return row["v"]  # type: ignore[no-any-return]


def _seconds(query: Query, row: dict[str, Any]) -> float:
    if query.bucket_ns is not None:
        return query.bucket_ns / 1e9
    if query.start is not None and query.end is not None:
        return query.end - query.start
    return (row["newest"] - row["oldest"]) / 1e9  # type: ignore[no-any-return]


def _percentiles(aggregate: Aggregate, query: Query, pipeline: Pipeline) -> Iterable[dict[str, Any]]:
    group = _group(query)
    counted = aggregate([*pipeline, {"$group": {"_id": group, "n": {"$sum": 1}}}])
    sizes = {_hashable(row["_id"]): row["n"] for row in counted}
    share = query.percentile or 0.0
    if max(sizes.values(), default=0) > EXACT_PERCENTILES:
        estimate = {"$percentile": {"input": "$v", "p": [share], "method": "approximate"}}
        rows = aggregate([*pipeline, {"$group": {"_id": group, "p": estimate}}])
        return [{"_id": row["_id"], "v": row["p"][0]} for row in rows]
    percent = round(share * 100)
    ranked = {"$divide": [{"$add": [{"$multiply": [{"$size": "$all"}, percent]}, 99]}, 100]}
    nearest = {"$arrayElemAt": ["$all", {"$subtract": [{"$toInt": {"$floor": ranked}}, 1]}]}
    return aggregate(
        [
            *pipeline,
            {"$sort": {"v": 1}},
            {"$group": {"_id": group, "all": {"$push": "$v"}}},
            {"$project": {"v": nearest}},
        ]
    )


def _hashable(key: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(key.items(), key=lambda item: item[0]))


def native(query: Query) -> Pipeline:
    """Our own documents."""
    tags = {f"g{index}": {"$ifNull": [f"$tags.{escaped(tag)}", None]} for index, tag in enumerate(query.by)}
    return [
        {"$match": fits(query)},
        {
            "$project": {
                "t": "$timestamp_ns",
                "name": 1,
                "unit": {"$ifNull": ["$unit", None]},
                "v": "$number",
                "w": {"$divide": [1, {"$ifNull": ["$sample_rate", 1]}]},
                **tags,
            }
        },
    ]


def foreign(query: Query, source: Foreign) -> Pipeline:
    """Somebody else's documents, brought into the same form. One without a time (or a name, where a field holds the
    names) is passed over."""
    factors = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
    moment: Any = f"${source.time}"
    if source.time_unit == "iso":
        moment = {"$toDate": moment}
    if source.time_unit in ("iso", "native"):
        moment = {"$multiply": [{"$toLong": moment}, 1_000_000]}
    else:
        moment = {"$toLong": {"$multiply": [moment, factors[source.time_unit]]}}
    tags = {escaped(tag): {"$toString": f"${column}"} for tag, column in source.tags.items()}
    shaped: dict[str, Any] = {
        "timestamp_ns": moment,
        "name": {"$toString": f"${source.name}"} if source.name else {"$literal": source.source},
        "kind": {"$toString": f"${source.kind}"} if source.kind else {"$literal": "gauge"},
        "number": {"$toDouble": f"${source.value}"},
    }
    if tags:
        shaped["tags"] = tags
    there = {field: {"$ne": None} for field in (source.time, source.name) if field}
    number = {source.value: {"$type": ["int", "long", "double", "decimal", "bool"], "$not": {"$type": "array"}}}
    fitting = {"$and": [there] if query.aggregate == "count" else [there, number]}
    return [{"$match": fitting}, {"$project": shaped}, *native(query)]


def fits(query: Query) -> dict[str, Any]:
    """The match that a query's names, kinds, `where` and time range make."""
    conditions: list[dict[str, Any]] = []
    if "*" not in query.names:
        exact = [name for name in query.names if not is_pattern(name)]
        patterns = [re.compile(_regex(name)) for name in query.names if is_pattern(name)]
        conditions.append({"name": {"$in": [*exact, *patterns]}})
    if query.kinds:
        conditions.append({"kind": {"$in": list(query.kinds)}})
    conditions += [{f"tags.{escaped(tag)}": {"$in": list(values)}} for tag, values in query.where.items()]
    span = {
        operator: bound for operator, bound in (("$gte", query.start_ns), ("$lt", query.end_ns)) if bound is not None
    }
    if span:
        conditions.append({"timestamp_ns": span})
    return {"$and": conditions} if conditions else {}


def _regex(pattern: str) -> str:
    parts = (r"[\s\S]*" if sign == "*" else r"[\s\S]" if sign == "?" else re.escape(sign) for sign in pattern)
    return f"^{''.join(parts)}$(?![\\s\\S])"


def _numbers(query: Query) -> Pipeline:
    return [] if query.aggregate == "count" else [{"$match": {"v": {"$exists": True}}}]


def _group(query: Query) -> dict[str, Any]:
    group: dict[str, Any] = {"name": "$name", "unit": "$unit"}
    group.update({f"g{index}": f"$g{index}" for index in range(len(query.by))})
    if query.bucket_ns is not None:
        size = query.bucket_ns
        positive = {"$mod": [{"$add": [{"$mod": ["$t", size]}, size]}, size]}
        group["b"] = {"$subtract": ["$t", positive]}
    return group
