"""How a search engine holds tags: what goes into a document, how one filters by them, and how one groups by them.

Elasticsearch has the type `flattened`: every key of the object is a column to group by, whatever its characters, at the
price of a single mapped field. OpenSearch's `flat_object` is not that: grouping by a key gives nothing (2.19) or
unreadable keys (3.8), and it takes `{"a=b": "c"}` for `{"a": "b=c"}`. There each tag is a text `key=value` in a
keyword field, `tag_pairs`; the group of a tag are the texts that begin with its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from tallystick.backends.search.http import Json
from tallystick.errors import QueryError

Group = tuple[str | None, ...]

MOST_VALUES: Final = 65_000
"""How many values of a tag OpenSearch gives in one answer; its own limit is 65,535 buckets."""


class TagStyle(Protocol):
    def mapping(self) -> Json:
        """The properties that the tags need in the mapping."""

    def fields(self, tags: Mapping[str, str]) -> Json:
        """What the tags are in a document."""

    def where(self, tag: str, texts: Iterable[str]) -> Json:
        """The filter for records whose tag has one of these texts."""

    def sources(self, by: tuple[str, ...]) -> list[Json]:
        """The sources of a composite aggregation that group by these tags, as far as this style can."""

    def nest(self, by: tuple[str, ...], metrics: Json) -> Json:
        """The aggregations within a row of the composite one that do the rest of the grouping."""

    def groups(self, by: tuple[str, ...], row: Json) -> Iterator[tuple[Group, Json]]:
        """The groups in a row of the answer: the tags' values, and the bucket that holds the metrics."""


class Columns:
    """A column for each tag: the keys of a `flattened` field or, in data written by others, fields of its own.

    `columns` names the field of each tag; without it, every tag is a key of the field `tags`.
    """

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        self._columns = columns

    def _column(self, tag: str) -> str | None:
        return f"tags.{tag}" if self._columns is None else self._columns.get(tag)

    def mapping(self) -> Json:
        return {"tags": {"type": "flattened"}}

    def fields(self, tags: Mapping[str, str]) -> Json:
        return {"tags": tags}

    def where(self, tag: str, texts: Iterable[str]) -> Json:
        column = self._column(tag)
        return {"match_none": {}} if column is None else {"terms": {column: list(texts)}}

    def sources(self, by: tuple[str, ...]) -> list[Json]:
        columns = [(index, self._column(tag)) for index, tag in enumerate(by)]
        return [
            {f"tag{index}": {"terms": {"field": column, "missing_bucket": True}}} for index, column in columns if column
        ]

    def nest(self, by: tuple[str, ...], metrics: Json) -> Json:
        return metrics

    def groups(self, by: tuple[str, ...], row: Json) -> Iterator[tuple[Group, Json]]:
        yield tuple(_text(row["key"].get(f"tag{index}")) for index in range(len(by))), row


def _text(key: Any) -> str | None:
    """A tag's value as text: in data written by others it may be a number or a truth value."""
    if key is None or isinstance(key, str):
        return key
    return str(key).lower() if isinstance(key, bool) else str(key)


class Pairs:
    """Texts `key=value` in the field `tag_pairs`. A `=` or `\\` within the key has a `\\` before it."""

    def mapping(self) -> Json:
        return {"tags": {"type": "object", "enabled": False}, "tag_pairs": {"type": "keyword"}}

    def fields(self, tags: Mapping[str, str]) -> Json:
        return {"tags": tags, "tag_pairs": [_prefix(tag) + text for tag, text in tags.items()]}

    def where(self, tag: str, texts: Iterable[str]) -> Json:
        return {"terms": {"tag_pairs": [_prefix(tag) + text for text in texts]}}

    def sources(self, by: tuple[str, ...]) -> list[Json]:
        return []

    def nest(self, by: tuple[str, ...], metrics: Json) -> Json:
        if not by:
            return metrics
        prefix, inner = _prefix(by[0]), self.nest(by[1:], metrics)
        with_it = {"field": "tag_pairs", "include": _literal(prefix) + ".*", "size": MOST_VALUES}
        without_it = {"bool": {"must_not": [{"prefix": {"tag_pairs": prefix}}]}}
        return {"with": {"terms": with_it, "aggs": inner}, "without": {"filter": without_it, "aggs": inner}}

    def groups(self, by: tuple[str, ...], row: Json) -> Iterator[tuple[Group, Json]]:
        if not by:
            yield (), row
            return
        if row["with"]["sum_other_doc_count"]:
            raise QueryError(f"by: {by[0]!r} has more than {MOST_VALUES} values; narrow the query by where or time")
        start = len(_prefix(by[0]))
        for bucket in row["with"]["buckets"]:
            for rest, inner in self.groups(by[1:], bucket):
                yield (bucket["key"][start:], *rest), inner
        if row["without"]["doc_count"]:
            for rest, inner in self.groups(by[1:], row["without"]):
                yield (None, *rest), inner


def _prefix(tag: str) -> str:
    return tag.replace("\\", "\\\\").replace("=", "\\=") + "="


def _literal(text: str) -> str:
    """The text as a regular expression of the engine's syntax, in which more characters are special than in ours."""
    return re.sub(r"([^\w])", r"\\\1", text, flags=re.ASCII)
