"""Kaneda's documents in Elasticsearch: an index a day, `<index>-YYYY.MM.DD`, by the record's day in UTC.

The first `value` of a day fixed its mapping: an integer cut the fractions of later sums, and a text was refused. So:

- A template for `<index>-*` maps `value` as a double that passes over what is no number, with the text in
  `value.keyword`. It is not made where a template of the user's is for these indices, which it would shadow.
- An index that is there already gets `ignore_malformed` on its `value`, and keeps the rest of its mapping.
- Tags as a list and as a dict cannot share an index (text against object). What the server refuses for that goes into
  an index beside it, `<index>-YYYY.MM.DD-tags`, which the same pattern finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from tallystick.backends.base import Foreign
from tallystick.backends.search.documents import Lines
from tallystick.compat.kaneda.documents import document_of, moment_of, record_of
from tallystick.compat.kaneda.given import kind_of
from tallystick.records import Batch, Record

Ask = Callable[..., Any]

VALUE: Final = {
    "type": "double",
    "ignore_malformed": True,
    "fields": {"keyword": {"type": "keyword", "ignore_above": 8191}},
}
_TAGS: Final = re.compile(r"mapping for \[tags\]|(?:field|mapper) \[tags\]")
_VALUE: Final = re.compile(r"field \[value\]")
_FIXABLE: Final = {"long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float", "date"}


class Elastic:
    name = "kaneda"
    age = "@timestamp"
    indexes: tuple[tuple[str, ...], ...] = ()

    def __init__(self, index: str) -> None:
        self.index = index
        self.foreign: Foreign | None = Foreign(
            source=f"{index}-*", time="@timestamp", value="value", name="name", kind="metric", tags_in="tags"
        )
        self._templated = False
        self._prepared: set[str] = set()
        self._beside: set[tuple[str, bool]] = set()
        self._amended: set[str] = set()

    def place(self, record: Record) -> str | None:
        """What the day's index refused for its tags goes beside it, and nothing else, so a redelivery finds its row."""
        day = self._day(record)
        return f"{day}-tags" if record.tags and (day, bool(record.words)) in self._beside else day

    def _day(self, record: Record) -> str:
        return f"{self.index}-{moment_of(record):%Y.%m.%d}"

    def document(self, record: Record) -> dict[str, Any]:
        made = document_of(record)
        made |= {"app_name": record.app, "metric": kind_of(record)}
        made["@timestamp"] = moment_of(record).replace(tzinfo=None).isoformat(timespec="microseconds")
        made["_id"] = record.id
        return made

    def record(self, hit: dict[str, Any]) -> Record:
        """Of a hit; an old one has its kind as the mapping's type."""
        source = dict(hit["_source"])
        kind = source.pop("metric", None) or hit.get("_type") or "gauge"
        moment, app = datetime.fromisoformat(source.pop("@timestamp")), str(source.pop("app_name", ""))
        return record_of(source, hit["_id"], moment, kind, app)

    def learn(self, record: Record, reason: str) -> bool:
        day = self._day(record)
        if _TAGS.search(reason) and record.tags and (day, bool(record.words)) not in self._beside:
            self._beside.add((day, bool(record.words)))
            return True
        if _VALUE.search(reason) and day not in self._amended:  # made by another template than ours
            self._amended.add(day)
            self._prepared.discard(day)
            return True
        return False

    def prepare(self, ask: Ask, batch: Batch) -> None:
        """Once in each process for the template, and once for each index."""
        days = {self._day(record) for record in batch.records} - self._prepared
        if not days:
            return
        if not self._templated:
            if not _templates_of_others(ask, f"{self.index}-2000.01.01", self._template):
                body = {
                    "index_patterns": [f"{self.index}-*"],
                    "template": {"mappings": {"properties": {"value": VALUE}}},
                }
                ask("PUT", f"/_index_template/{self._template}", body)
            self._templated = True
        for day in days:
            _let_pass(ask, day)
        self._prepared |= days

    @property
    def _template(self) -> str:
        return f"tallystick-kaneda-{self.index}"


def elastic(index: str, _argument: str) -> Lines:
    return Lines(Elastic(index), index)


def _templates_of_others(ask: Ask, index: str, ours: str) -> list[str]:
    found = ask("GET", "/_index_template") or {}
    patterns = {each["name"]: each["index_template"]["index_patterns"] for each in found.get("index_templates", ())}
    patterns |= {name: each["index_patterns"] for name, each in (ask("GET", "/_template") or {}).items()}
    patterns.pop(ours, None)
    return [
        name
        for name, those in patterns.items()
        if any(pattern != "*" and fnmatchcase(index, pattern) for pattern in those)
    ]


def _let_pass(ask: Ask, index: str) -> None:
    """Let the index's numbers pass over what is none."""
    found = ask("GET", f"/{index}/_mapping")
    if not found:
        return
    value = next(iter(found.values()))["mappings"].get("properties", {}).get("value", {})
    if value.get("type") in _FIXABLE and not value.get("ignore_malformed"):
        ask("PUT", f"/{index}/_mapping", {"properties": {"value": {**value, "ignore_malformed": True}}})
