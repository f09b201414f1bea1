"""What a search backend makes of each answer that an unhappy server may give: for both engines.

The real server stands behind `http_gate.py`, which answers in its place.
"""

from __future__ import annotations

from email.utils import formatdate
from time import time
from typing import Any

import msgspec
import pytest
from tests.contract.http_gate import HttpGate, Reply
from tests.contract.search import ask, new_index, remove
from tests.contract.search_access import JSON, SearchBehindAGate, error

from tallystick.backends.base import ACCEPTED
from tallystick.backends.search.backend import SearchBackend
from tallystick.backends.search.http import Refused
from tallystick.errors import Misconfigured, TooLarge, Unavailable
from tallystick.plugins import backend_from_url
from tallystick.testing import counters, make_batch


class SearchAnswers(SearchBehindAGate):
    @pytest.mark.parametrize(
        ("reply", "raises", "wait"),
        [
            ((401, JSON, b'{"error":{"type":"security_exception","reason":"who are you"}}'), Misconfigured, None),
            ((403, JSON, b'{"error":{"type":"security_exception","reason":"not you"}}'), Misconfigured, None),
            ((403, JSON, b'{"error":{"type":"cluster_block_exception","reason":"read-only"}}'), Misconfigured, None),
            ((404, JSON, b'{"error":"no handler found"}'), Misconfigured, None),
            ((405, {}, b""), Misconfigured, None),
            ((406, {}, b""), Misconfigured, None),
            ((302, {"Location": "https://elsewhere/"}, b""), Misconfigured, None),
            ((413, {}, b"<html>too large</html>"), TooLarge, None),
            ((408, {}, b""), Unavailable, None),
            ((429, {"Retry-After": "7"}, b"{}"), Unavailable, 7.0),
            ((500, {}, b"oops"), Unavailable, None),
            ((502, {}, b"<html>bad gateway</html>"), Unavailable, None),
            ((503, {"Retry-After": "120"}, b""), Unavailable, 120.0),
            ((503, {"Retry-After": "soon"}, b""), Unavailable, None),
            ((504, {}, b""), Unavailable, None),
            ((400, JSON, b'{"error":{"type":"parsing_exception","reason":"what"}}'), Refused, None),
            ((200, {}, b"<html>sign in here</html>"), Unavailable, None),
            ((200, JSON, b"{}"), Unavailable, None),
            ((200, JSON, b'{"errors":false,"items":[{"create":{"status":201}}]}'), Unavailable, None),
        ],
    )
    def test_an_answer_to_a_whole_request_means_what_it_says(
        self, gate: HttpGate, backend: SearchBackend, reply: Reply, raises: type[Exception], wait: float | None
    ) -> None:
        batch = make_batch(*counters(2))
        gate.rule = lambda request: reply if request.path.endswith("/_bulk") else None
        with pytest.raises(raises) as caught:
            backend.write(batch)
        assert type(caught.value) is raises
        assert getattr(caught.value, "retry_after_seconds", None) == wait
        gate.rule = lambda _: None
        assert backend.write(batch) == ACCEPTED

    def test_a_date_to_try_again_after_is_understood(self, gate: HttpGate, backend: SearchBackend) -> None:
        reply = (503, {"Retry-After": formatdate(time() + 60, usegmt=True)}, b"")
        gate.rule = lambda request: reply if request.path.endswith("/_bulk") else None
        with pytest.raises(Unavailable) as caught:
            backend.write(make_batch(*counters(1)))
        assert 50 < (caught.value.retry_after_seconds or 0) <= 60

    def test_every_item_of_an_answer_is_a_verdict_of_its_own(self, gate: HttpGate, backend: SearchBackend) -> None:
        answers: list[tuple[int, str, str]] = [
            (201, "", ""),
            (409, "version_conflict_engine_exception", "document already exists"),
            (429, "es_rejected_execution_exception", "queue is full"),
            (503, "unavailable_shards_exception", "primary shard is not active"),
            (500, "some_exception", "disk trouble"),
            (403, "cluster_block_exception", "index read-only"),
            (404, "index_not_found_exception", "no such index and auto-creation is off"),
            (401, "security_exception", "unauthorized"),
            (400, "validation_exception", "this cluster currently has 1000 of 1000 maximum normal shards open"),
            (400, "index_closed_exception", "closed"),
            (400, "illegal_argument_exception", "pipeline with id [x] does not exist"),
            (400, "mapper_parsing_exception", "failed to parse field [value]"),
            (400, "document_parsing_exception", "failed to parse field [value]"),
            (400, "illegal_argument_exception", "Document contains at least one immense term"),
            (400, "strict_dynamic_mapping_exception", "dynamic introduction is not allowed"),
            (200, "", ""),
        ]
        items = [{"create": item(*one)} for one in answers]
        raw = msgspec.json.encode({"errors": True, "items": items})
        gate.rule = lambda request: (
            (200, {**JSON, "Retry-After": "3"}, raw) if request.path.endswith("/_bulk") else None
        )
        result = backend.write(make_batch(*counters(len(answers))))
        assert sorted(result.kept) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
        assert sorted(result.rejected) == [11, 12, 13, 14]
        assert result.retry_after_seconds == 3
        for index in (*result.kept, *result.rejected):
            assert answers[index][2] in {**result.kept, **result.rejected}[index]

    @pytest.mark.parametrize(
        ("status", "kind", "raises"),
        [
            (429, "es_rejected_execution_exception", Unavailable),
            (404, "index_not_found_exception", Misconfigured),
            (403, "security_exception", Misconfigured),
            (400, "validation_exception", Misconfigured),
        ],
    )
    def test_when_all_are_kept_the_store_is_unavailable(
        self, gate: HttpGate, backend: SearchBackend, status: int, kind: str, raises: type[Exception]
    ) -> None:
        items = [{"create": item(status, kind, "because")}] * 3
        raw = msgspec.json.encode({"errors": True, "items": items})
        gate.rule = lambda request: (200, JSON, raw) if request.path.endswith("/_bulk") else None
        with pytest.raises(raises, match="because") as caught:
            backend.write(make_batch(*counters(3)))
        assert type(caught.value) is raises

    @pytest.mark.promise("what a person must mend keeps everything and says the remedy")
    def test_a_user_who_may_not_make_the_template_gets_it_to_hand_on(self, gate: HttpGate) -> None:
        gate.rule = lambda request: (
            (403, JSON, error("security_exception", "action [indices:admin/index_template/put] is unauthorized"))
            if "_index_template" in request.path
            else None
        )
        index = new_index()
        backend = self.kind(f"127.0.0.1:{gate.port}", index=index)
        with pytest.raises(Misconfigured, match="setup=no") as caught:
            backend.open()
        line, _, script = str(caught.value).partition("PUT ")[2].partition("\n")
        admin = self.make(index, setup=False)
        ask(admin, "PUT", line, msgspec.json.decode(script))
        backend = backend_from_url(self.url(gate.port, index, query="?setup=no"))
        assert backend.write(make_batch(*counters(2))) == ACCEPTED
        assert [line for line in admin.check() if not line.ok] == []
        backend.close()
        remove(admin)

    @pytest.mark.parametrize(
        ("info", "says"),
        [
            (b'{"version": {"number": "6.8.23"}}', "it must be|for Elasticsearch write"),
            (b'{"version": {"number": "1.3.0", "distribution": "opensearch"}}', "it must be 2|write opensearch://"),
            (b'{"hello": "world"}', "not as"),
            (b"[]", "not as"),
        ],
    )
    def test_another_kind_of_server_is_recognized(self, gate: HttpGate, info: bytes, says: str) -> None:
        gate.rule = lambda request: (200, JSON, info) if request.path == "/" else None
        with pytest.raises(Misconfigured, match=says):
            self.kind(f"127.0.0.1:{gate.port}").open()

    def test_a_page_instead_of_json_is_no_server_yet(self, gate: HttpGate) -> None:
        gate.rule = lambda _: (200, {}, b"<html>starting</html>")
        with pytest.raises(Unavailable, match="something else than JSON"):
            self.kind(f"127.0.0.1:{gate.port}").open()


def item(status: int, kind: str, reason: str) -> dict[str, Any]:
    return {"status": status, **({"error": {"type": kind, "reason": reason}} if kind else {})}
