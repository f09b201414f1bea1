"""What the records' indices are like, said to the server by one composable index template; and its care.

- The template makes each new index right, whoever writes first into it. It gives every index the alias `<prefix>`,
  which is what queries are asked of: exactly our indices, and no other whose name begins alike.
- Templates can be deleted. So before records go to an index that is new or lacks the alias, the template is put right;
  and an index that the server made by guessing its types gets no alias, since it would spoil queries to all.
- Its priority is above those that servers bring along, and grows with the prefix: of `shop` and `shop-eu`, whose
  patterns overlap, the longer one's template is taken for its indices.
- Settings are only proposed: what an administrator put into the template (replicas, a lifecycle policy) is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tallystick.backends.base import Line
from tallystick.backends.search.http import Json, Refused, Server
from tallystick.backends.search.shape import LATEST_NS, moment_text
from tallystick.backends.search.tags import TagStyle
from tallystick.codec import encode
from tallystick.errors import Misconfigured
from tallystick.moments import nanoseconds

SCHEMA: Final = 1
_SLICE: Final = 20_000
"""Records deleted in one request by `prune`."""

_NAMED_AT_MOST: Final = 10
"""Indices named in a request's address, which has to stay below 4,096 bytes."""


def properties(tags: TagStyle) -> Json:
    """The mapping of a record's fields. Names are not cut (`ignore_above`): a name too long is refused, not lost."""
    keyword, only_shown = {"type": "keyword"}, {"type": "object", "enabled": False}
    return {
        "@timestamp": {"type": "date_nanos"},
        "name": keyword,
        "kind": keyword,
        "unit": keyword,
        "value": {"type": "double"},
        "weight": {"type": "double"},
        "text": {"type": "text", "norms": False},
        "document": only_shown,
        "metadata": only_shown,
        "host": keyword,
        "app": keyword,
        "segment": {"type": "keyword", "index": False},
        "offset": {"type": "long", "index": False},
        **tags.mapping(),
    }


class Schema:
    def __init__(self, prefix: str, tags: TagStyle) -> None:
        self.prefix = prefix
        self.wanted: Json = {
            "index_patterns": [f"{prefix}-*.*.*", f"{prefix}-unique"],
            "priority": 600 + len(prefix),
            "_meta": {"made_by": "tallystick", "schema": SCHEMA},
            "template": {
                "aliases": {prefix: {}},
                "settings": {"index": {"number_of_shards": "1", "auto_expand_replicas": "0-1"}},
                "mappings": {"dynamic": "false", "properties": properties(tags)},
            },
        }
        self._ours = re.compile(rf"{re.escape(prefix)}-(?:(\d{{4}}\.\d\d\.\d\d)|unique)")

    # --- the template -------------------------------------------------------------------------------------------------

    def ensure_template(self, server: Server) -> list[str]:
        """Make or mend the template; says what was done."""
        target = f"/_index_template/{self.prefix}"
        try:
            there = self._template(server)
            if there is not None and self._is_right(there):
                return []
            body = self.wanted
            if there is not None:
                settings = {**body["template"]["settings"], **there.get("template", {}).get("settings", {})}
                body = {**there, **body, "template": {**body["template"], "settings": settings}}
                body = {key: value for key, value in body.items() if not key.endswith("_date_millis")}
            server.ask("PUT", target, body)
        except Refused as error:
            if "alias" in error.detail and "exists with the same name" in error.detail:
                raise Misconfigured(
                    f"{server.address}: an index or data stream named {self.prefix!r} is there already, and that name"
                    " must be free for the records' alias; choose another name in the backend's URL"
                ) from None
            raise
        except Misconfigured as error:
            raise Misconfigured(
                f"{error}. If this user may not manage index templates, let somebody who may do this once, and add"
                f" setup=no to the backend's URL:\nPUT {target}\n{self.script()}"
            ) from None
        return [f"index template {self.prefix} {'made' if there is None else 'mended'}"]

    def script(self) -> str:
        return msgspec.json.format(msgspec.json.encode(self.wanted), indent=2).decode()

    def _template(self, server: Server) -> Json | None:
        answer = server.ask("GET", f"/_index_template/{self.prefix}")
        found = answer["index_templates"] if answer else []
        return found[0]["index_template"] if found else None

    def _is_right(self, there: Json) -> bool:
        parts = ("aliases", "mappings")
        ours, theirs = self.wanted["template"], there.get("template", {})
        return (
            set(there.get("index_patterns", ())) == set(self.wanted["index_patterns"])
            and there.get("priority") == self.wanted["priority"]
            and there.get("_meta", {}).get("schema") == SCHEMA
            and all(_contains(theirs.get(part, {}), ours[part]) for part in parts)
        )

    # --- the indices --------------------------------------------------------------------------------------------------

    def names(self, server: Server) -> list[str]:
        """The indices that have the alias."""
        return sorted(server.ask("GET", f"/_alias/{self.prefix}") or ())

    def prepare(self, server: Server, targets: set[str], *, mend: bool) -> bool:
        """Before records go to `targets`: whether some of these do not exist yet, and will be made by the write.

        With `mend`, the template is then put right first, and an existing index gets the alias that it lacks.
        Raises `Misconfigured` for an index that queries do not see and that cannot be mended.
        """
        unseen = self._unseen(server, targets)
        if unseen and mend:
            self.ensure_template(server)
            self.mend_indices(server, unseen)
        return bool(unseen) and self.refuse_unseen(server, targets)

    def refuse_unseen(self, server: Server, targets: set[str]) -> bool:
        """Whether some of `targets` do not exist. Raises `Misconfigured` for one that exists without the alias."""
        unseen = self._unseen(server, targets)
        if not unseen:
            return False
        for name, lacks_alias, _, foreign in self._faults(server):
            if lacks_alias and name in unseen:
                remedy = self._way_over(name) if foreign else "`tallystick setup` adds it"
                raise Misconfigured(
                    f"{server.address}: index {name} lacks the alias {self.prefix}, so no query would see the records"
                    f" written there; they are kept. {remedy}"
                )
        return True

    def _unseen(self, server: Server, targets: set[str]) -> set[str]:
        """Those that do not have the alias, or do not exist."""
        place = ",".join(sorted(targets)) if len(targets) <= _NAMED_AT_MOST else f"{self.prefix}-*"
        return targets - set(server.ask("GET", f"/{place}/_alias/{self.prefix}?ignore_unavailable=true") or ())

    def _way_over(self, name: str) -> str:
        """How the records of an index that the server made by guessing get into one that the template makes."""
        moved = f"{name}.moved.over"  # which the template's patterns fit, too
        there, back = (
            {"source": {"index": a}, "dest": {"index": b, "version_type": "external"}}
            for a, b in ((name, moved), (moved, name))
        )
        return (
            "The server made it without the template; move its records into one made with it:"
            f"\ntallystick setup\nPOST /_reindex?refresh=true {encode(there).decode()}\nDELETE /{name}"
            f"\nPOST /_reindex?refresh=true {encode(back).decode()}\nDELETE /{moved}"
        )

    def mend_indices(self, server: Server, only: Container[str] | None = None) -> list[str]:
        """Give our indices (or `only` some) the alias and the fields that they lack; says what was done.

        One with fields of other types gets no alias: a question to all would fail because of it.
        """
        done = []
        for name, lacks_alias, missing, foreign in self._faults(server):
            if only is not None and name not in only:
                continue
            if lacks_alias and not foreign:
                server.ask("POST", "/_aliases", {"actions": [{"add": {"index": name, "alias": self.prefix}}]})
                done.append(f"index {name} given the alias {self.prefix}")
            if missing:
                server.ask("PUT", f"/{name}/_mapping", {"properties": missing})
                done.append(f"index {name} given the fields {', '.join(missing)}")
        return done

    def check(self, server: Server) -> list[Line]:
        lines = []
        there = self._template(server)
        if there is None or not self._is_right(there):
            what = f"index template {self.prefix} {'is missing' if there is None else 'is not as it should be'}"
            lines.append(Line(ok=False, what=what, remedy="tallystick setup mends it"))
        for name, lacks_alias, missing, foreign in self._faults(server):
            if lacks_alias:
                what = f"index {name} lacks the alias {self.prefix}: queries do not see it"
                remedy = "its types come first, see the next line" if foreign else "tallystick setup adds it"
                lines.append(Line(ok=False, what=what, remedy=remedy))
            if missing:
                what = f"index {name} lacks the fields {', '.join(missing)}"
                lines.append(Line(ok=False, what=what, remedy="tallystick setup adds them for new records"))
            if foreign:
                types = ", ".join(f"{field} as {type_}" for field, type_ in foreign.items())
                what = f"index {name} holds {types}: records that do not fit are rejected, and queries may fail"
                lines.append(Line(ok=False, what=what, remedy=self._way_over(name)))
        return lines or [Line(ok=True, what=f"index template {self.prefix} and its indices are as they should be")]

    def _faults(self, server: Server) -> Iterator[tuple[str, bool, Json, dict[str, str]]]:
        """Of each index that is not right: name, whether it lacks the alias, fields it lacks, fields of other types."""
        patterns = ",".join(self.wanted["index_patterns"])
        found = server.ask("GET", f"/{patterns}?ignore_unavailable=true&filter_path=*.aliases,*.mappings") or {}
        wanted = self.wanted["template"]["mappings"]["properties"]
        for name, index in sorted(found.items()):
            if not self._ours.fullmatch(name):
                continue
            fields = index.get("mappings", {}).get("properties", {})
            missing = {field: mapping for field, mapping in wanted.items() if field not in fields}
            foreign = {
                field: str(fields[field].get("type", "object"))
                for field in wanted
                if field in fields and fields[field].get("type", "object") != wanted[field]["type"]
            }
            lacks_alias = self.prefix not in index.get("aliases", {})
            if lacks_alias or missing or foreign:
                yield name, lacks_alias, missing, foreign

    # --- what they hold, and forgetting it ----------------------------------------------------------------------------

    def indices(self, server: Server) -> list[Json]:
        ends = {"oldest": {"min": {"field": "@timestamp"}}, "newest": {"max": {"field": "@timestamp"}}}
        question = {"size": 0, "aggs": {"indices": {"terms": {"field": "_index", "size": 65_000}, "aggs": ends}}}
        names = self.names(server)
        if not names:
            return []
        answer = server.ask("POST", f"/{self.prefix}/_search?allow_partial_search_results=false", question)
        held = {bucket["key"]: bucket for bucket in answer["aggregations"]["indices"]["buckets"]}
        sizes = server.ask("GET", f"/{self.prefix}/_stats/store?filter_path=indices.*.total.store.size_in_bytes")
        stores = (sizes or {}).get("indices", {})
        return [
            {
                "name": name,
                "records": held[name]["doc_count"] if name in held else 0,
                "size_bytes": stores[name]["total"]["store"]["size_in_bytes"] if name in stores else None,
                "oldest": held[name]["oldest"]["value"] / 1e3 if name in held else None,
                "newest": held[name]["newest"]["value"] / 1e3 if name in held else None,
            }
            for name in names
        ]

    def prune(self, server: Server, before: float, timeout_seconds: float) -> int:
        """Drop the indices of whole days, and delete in slices from those that also hold what stays."""
        limit_ns = min(max(0, nanoseconds(before, "before")), LATEST_NS - 1)
        limit = datetime.fromtimestamp(limit_ns // 1_000_000_000, UTC)
        gone = 0
        for name in self.names(server):
            match = self._ours.fullmatch(name)
            if match is None:
                continue
            if match[1] is None:
                gone += self._prune_within(server, name, limit_ns, timeout_seconds)
                continue
            day = datetime.strptime(match[1], "%Y.%m.%d").replace(tzinfo=UTC)
            if day + timedelta(days=1) <= limit:
                server.ask("POST", f"/{name}/_refresh")
                gone += server.ask("GET", f"/{name}/_count")["count"]
                server.ask("DELETE", f"/{name}")
            elif day < limit:
                gone += self._prune_within(server, name, limit_ns, timeout_seconds)
        return gone

    def _prune_within(self, server: Server, name: str, limit_ns: int, timeout_seconds: float) -> int:
        older = {"range": {"@timestamp": {"lt": moment_text(limit_ns)}}}
        target = f"/{name}/_delete_by_query?conflicts=proceed&refresh=true&max_docs={_SLICE}"
        server.ask("POST", f"/{name}/_refresh")
        gone = 0
        while deleted := server.ask("POST", target, {"query": older}, timeout_seconds=timeout_seconds)["deleted"]:
            gone += deleted
        return gone


def _contains(there: Any, wanted: Any) -> bool:
    """Whether all of `wanted` is there, whatever else is; servers give numbers and truth values back as text."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(key in there and _contains(there[key], wanted[key]) for key in wanted)
    return str(there).lower() == str(wanted).lower()
