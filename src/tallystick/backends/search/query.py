"""Questions put to a search engine as aggregations, and its answers as series.

A composite aggregation gives a row for each group and bucket, and pages through them, so no number of groups is too
large. The engine's clock is in milliseconds where ours is in nanoseconds. So the limits of time are filters, which are
exact, and a histogram is used only for buckets of whole milliseconds; for any other bucket the engine is asked for one
bucket after the other, from one that holds records to the next.

What the engine computes exactly: count, sum (with compensated addition), mean, min, max, last, rate. Percentiles are
its t-digest's estimate. Records that stand for several by their sample rate have a `weight`, and the weighted mean
times the sum of the weights is their sum; where all weights are 1, the plain sum is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tallystick.backends.search.http import Json, Refused
from tallystick.backends.search.tags import Group, TagStyle
from tallystick.backends.search.time import Time
from tallystick.errors import BackendError, QueryError
from tallystick.queries import Query, Series, finish, is_pattern

Search = Callable[[Json], Json]
"""From the body of a search to its answer."""

Key = tuple[str, str | None, Group]

ROWS: Final = 5_000
"""Rows of a page. A page costs a walk through all that the filters let through, so they are large."""

MOST_BUCKETS: Final = 10_000
"""Buckets of broken milliseconds that are asked for one by one."""

_NO_INDEX: Final[Json] = {"rows": {"buckets": []}}

COMPRESSION: Final = 400
"""Of the t-digest: the engine's default is 100. More is more exact and takes more memory a group."""


@dataclass(frozen=True)
class Fields:
    """Where documents keep what a query needs. Without a field `name`, all is one metric called `only_name`; the same
    for `kind`."""

    time: Time
    value: str
    tags: TagStyle
    name: str | None = None
    only_name: str = ""
    kind: str | None = None
    only_kind: str = ""
    unit: str | None = None
    weight: str | None = None


def filters(query: Query, fields: Fields, start_ns: int | None, end_ns: int | None) -> list[Json] | None:
    """What a document must fit; None when none can."""
    found: list[Json] = []
    if fields.name is None:
        if not query.matches_name(fields.only_name):
            return None
    elif "*" not in query.names:
        found.append(_names(fields.name, query.names))
    if query.kinds and fields.kind is not None:
        found.append({"terms": {fields.kind: list(query.kinds)}})
    elif query.kinds and fields.only_kind not in query.kinds:
        return None
    found += [fields.tags.where(tag, texts) for tag, texts in query.where.items()]
    between = fields.time.between(start_ns, end_ns)
    if between is None:
        return None
    return found + between


def _names(field: str, names: tuple[str, ...]) -> Json:
    exact = [name for name in names if not is_pattern(name)]
    choices: list[Json] = [{"terms": {field: exact}}] if exact else []
    # In the engine's patterns a backslash is special, too; ours has only * and ?.
    choices += [{"wildcard": {field: {"value": name.replace("\\", "\\\\")}}} for name in names if is_pattern(name)]
    return choices[0] if len(choices) == 1 else {"bool": {"should": choices}}


def answer(search: Search, query: Query, fields: Fields) -> list[Series]:
    found: dict[Key, list[tuple[float, float]]] = defaultdict(list)
    source = None if query.bucket_ns is None else fields.time.histogram(query.bucket_ns)
    for number, start_ns, end_ns in _spans(search, query, fields, whole=query.bucket_ns is None or source is not None):
        for row, group, bucket in _rows(search, query, fields, source, start_ns, end_ns):
            value = _value(query, fields, bucket)
            if value is None:
                continue
            if query.bucket_ns is None:
                moment = 0.0 if query.start is None else query.start
            else:
                at = number if source is None else fields.time.row_ns(row["key"]["bucket"]) // query.bucket_ns
                moment = at * query.bucket_ns / 1e9
            name = row["key"]["name"] if fields.name else fields.only_name
            found[name, row["key"].get("unit"), group].append((moment, value))
    series = [
        Series(name=name, unit=unit, tags=dict(zip(query.by, group, strict=True)), points=sorted(points))
        for (name, unit, group), points in found.items()
    ]
    return finish(series, query.limit)


def _spans(
    search: Search, query: Query, fields: Fields, *, whole: bool
) -> Iterator[tuple[int, int | None, int | None]]:
    """The number, start and end of each bucket to ask for; the whole range of the query at once where that does."""
    if whole:
        yield 0, query.start_ns, query.end_ns
        return
    size, start_ns = query.bucket_ns, query.start_ns
    assert size is not None
    for _ in range(MOST_BUCKETS):
        oldest = _oldest(search, query, fields, start_ns)
        if oldest is None:
            return
        number = oldest // size
        limit_ns = (number + 1) * size
        yield number, max(oldest, number * size), limit_ns if query.end_ns is None else min(limit_ns, query.end_ns)
        start_ns = limit_ns
    raise QueryError(
        f"bucket: {query.bucket_seconds} s is no whole number of milliseconds, and more than {MOST_BUCKETS} such"
        " buckets hold records; use one of whole milliseconds, or a shorter range"
    )


def _oldest(search: Search, query: Query, fields: Fields, start_ns: int | None) -> int | None:
    """The moment of the oldest record from `start_ns` on that the query is about."""
    if query.end_ns is not None and start_ns is not None and start_ns >= query.end_ns:
        return None
    fitting = _fitting(query, fields, start_ns, query.end_ns)
    if fitting is None:
        return None
    sort = [{fields.time.field: {"order": "asc"}}]
    hits = search({"size": 1, "query": fitting, "_source": False, "sort": sort})["hits"]["hits"]
    return fields.time.sorted_ns(hits[0]["sort"][0]) if hits else None


def _fitting(query: Query, fields: Fields, start_ns: int | None, end_ns: int | None) -> Json | None:
    found = filters(query, fields, start_ns, end_ns)
    if found is None:
        return None
    # A document without the field of its time cannot be placed, neither here nor there.
    found.append({"exists": {"field": fields.time.field}})
    if query.aggregate != "count":
        found.append({"exists": {"field": fields.value}})
    return {"bool": {"filter": found}}


def _rows(
    search: Search, query: Query, fields: Fields, histogram: Json | None, start_ns: int | None, end_ns: int | None
) -> Iterator[tuple[Json, Group, Json]]:
    """Each row of the composite aggregation, and within it each group of tags with the bucket of its metrics."""
    fitting = _fitting(query, fields, start_ns, end_ns)
    if fitting is None:
        return
    sources: list[Json] = [{"name": {"terms": {"field": fields.name}}}] if fields.name else []
    if fields.unit:
        sources.append({"unit": {"terms": {"field": fields.unit, "missing_bucket": True}}})
    sources += fields.tags.sources(query.by)
    if histogram is not None:
        sources.append({"bucket": histogram})
    composite: Json = {"size": ROWS, "sources": sources}
    kind: Json = {"composite": composite} if sources else {"filters": {"filters": [{"match_all": {}}]}}  # one row
    nested = fields.tags.nest(query.by, _metrics(query, fields))
    while True:
        body = {"size": 0, "query": fitting, "aggs": {"rows": {**kind, "aggs": nested}}}
        try:
            page = search(body).get("aggregations", _NO_INDEX)["rows"]
        except BackendError as error:
            if not _too_many(error):
                raise
            if composite["size"] == 1:
                raise QueryError(f"by: too many groups at once for the server; narrow the query ({error})") from None
            composite["size"] = max(1, composite["size"] // 10)
            continue
        for row in page["buckets"]:
            row.setdefault("key", {})
            for group, bucket in fields.tags.groups(query.by, row):
                yield row, group, bucket
        if len(page["buckets"]) < composite["size"] or "after_key" not in page:
            return
        composite["after"] = page["after_key"]


def _too_many(error: BackendError) -> bool:
    """Whether the server refused to build so many groups at once: by number, or by the memory that they would take."""
    detail = error.detail if isinstance(error, Refused) else str(error)
    return "too many buckets" in detail or "Data too large" in detail


def _metrics(query: Query, fields: Fields) -> Json:
    """The aggregations that give a group's value."""
    number = {"field": fields.value}
    weight = {"weight": {"sum": {"field": fields.weight, "missing": 1}}} if fields.weight else {}
    if query.aggregate == "count":
        return weight
    if query.aggregate in ("min", "max"):
        return {"number": {query.aggregate: number}}
    if query.percentile is not None:
        percents = [query.percentile * 100]
        return {
            "number": {
                "percentiles": {
                    **number,
                    "percents": percents,
                    "keyed": False,
                    "tdigest": {"compression": COMPRESSION},
                }
            }
        }
    newest = [{fields.time.field: {"order": "desc"}}, {fields.value: {"order": "desc"}}]
    if query.aggregate == "last":
        return {"newest": {"top_hits": {"size": 1, "_source": False, "sort": newest}}}
    metrics: Json = {"sum": {"sum": number}, **weight}
    if fields.weight:
        weighted = {"value": number, "weight": {"field": fields.weight, "missing": 1}}
        metrics["mean"] = {"weighted_avg": weighted}
    if query.aggregate == "rate" and query.bucket_ns is None and (query.start is None or query.end is None):
        oldest = [{fields.time.field: {"order": "asc"}}]
        metrics["newest"] = {"top_hits": {"size": 1, "_source": False, "sort": newest}}
        metrics["oldest"] = {"top_hits": {"size": 1, "_source": False, "sort": oldest}}
    return metrics


def _value(query: Query, fields: Fields, bucket: Json) -> float | None:
    """A group's value, from the answers to `_metrics`; None when there is nothing to say."""
    count = bucket["doc_count"]
    if not count:
        return None
    weights = bucket["weight"]["value"] if "weight" in bucket else float(count)
    if query.aggregate == "count":
        return float(weights)
    if query.aggregate in ("min", "max"):
        return float(bucket["number"]["value"])
    if query.percentile is not None:
        return float(bucket["number"]["values"][0]["value"])
    if query.aggregate == "last":
        return float(bucket["newest"]["hits"]["hits"][0]["sort"][1])
    sampled = weights != count
    if query.aggregate == "mean":
        return float(bucket["mean"]["value"]) if sampled else float(bucket["sum"]["value"]) / count
    total = float(bucket["mean"]["value"]) * weights if sampled else float(bucket["sum"]["value"])
    if query.aggregate == "sum":
        return total
    seconds = _seconds(query, fields, bucket)
    return total / seconds if seconds else None


def _seconds(query: Query, fields: Fields, bucket: Json) -> float:
    """What a rate is per: the bucket, else the query's range, else the span of the group's numbers."""
    if query.bucket_ns is not None:
        return query.bucket_ns / 1e9
    if query.start is not None and query.end is not None:
        return query.end - query.start
    newest, oldest = (fields.time.sorted_ns(bucket[end]["hits"]["hits"][0]["sort"][0]) for end in ("newest", "oldest"))
    return (newest - oldest) / 1e9
