"""Answers that are not the database's: a login page, a proxy's refusal, another body under a good status.

A gate before the real server gives them to the requests that write. Nothing is rejected or taken for stored, a person
is told, and when the server itself answers again every record is stored once.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from tests.contract.faults import write_once
from tests.contract.http_gate import HttpGate, Reply, Request
from tests.contract.influxdb3_standin import StandIn
from tests.services import service

from tallystick.backends.base import ACCEPTED
from tallystick.errors import Misconfigured, Unavailable
from tallystick.plugins import backend_from_url
from tallystick.queries import Query
from tallystick.records import Record
from tallystick.testing import at, counters, make_batch

_numbers = itertools.count()

PAGE = b"<html><title>Sign in</title></html>"
LOGIN = {"Location": "http://127.0.0.1:1/login"}
OTHERS: list[Reply] = [
    (200, {"Content-Type": "text/html"}, PAGE),
    (200, {"Content-Type": "application/json"}, b'{"status":"ok"}'),
    (204, {}, b""),
    (302, LOGIN, b""),
    (307, LOGIN, b""),
    (400, {}, PAGE),
    (400, {"Content-Type": "application/json"}, b'{"error":"Bad Request","status":400}'),
    (410, {}, PAGE),
    (418, {}, b"I'm a teapot"),
    (422, {}, b'{"detail":"unprocessable"}'),
    (451, {}, PAGE),
    (511, {}, PAGE),
]

SERVERS = {
    "influxdb1": "influxdb://{}/{}",
    "influxdb2": "influxdb2://{}/{}?org=tallystick&token_env=TALLYSTICK_TEST_TOKEN",
    "influxdb3": "influxdb3://{}/{}",
    "elasticsearch": "elasticsearch://{}/{}",
    "opensearch": "opensearch://{}/{}",
    "clickhouse": "clickhouse://{}/{}",
}


def is_write(request: Request) -> bool:
    """A request that carries records."""
    sign = ("/write", "_bulk", "INSERT")
    return request.method == "POST" and any(one in request.target or one.encode() in request.body[:60] for one in sign)


@contextmanager
def at_gate(server: str) -> Iterator[tuple[Any, HttpGate]]:
    with StandIn() if server == "influxdb3" else nullcontext() as standin:
        url = service(server) if standin is None else f"http://127.0.0.1:{standin.port}"
        with HttpGate(url) as gate:
            name = f"answers{os.getpid()}x{next(_numbers)}"
            backend: Any = backend_from_url(SERVERS[server].format(f"127.0.0.1:{gate.port}", name))
            backend.open()
            yield backend, gate
            gate.rule = lambda _: None
            backend.close()


@pytest.mark.parametrize("own_id", [None, "mine"])
@pytest.mark.parametrize(
    "server", [pytest.param(name, marks=pytest.mark.service(name) if name != "influxdb3" else ()) for name in SERVERS]
)
def test_an_answer_that_is_not_the_databases_rejects_nothing_and_stores_nothing(
    server: str, own_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_TEST_TOKEN", "tallystick-token")
    with at_gate(server) as (backend, gate):
        batch = make_batch(*counters(3), Record(at(9), "counter", "hits", 1, own_id=own_id))
        for reply in OTHERS:
            if reply[0] == 204 and server.startswith("influxdb"):
                continue  # that is what it says itself, without a word more
            gate.rule = lambda request, reply=reply: reply if is_write(request) else None  # type: ignore[misc]
            with pytest.raises(Unavailable) as caught:
                write_once(backend, batch)
            assert isinstance(caught.value, Misconfigured) or reply[0] in (200, 204, 511), (reply, caught.value)
            alone = make_batch(*counters(1))
            with pytest.raises(Unavailable):
                write_once(backend, alone)
        gate.rule = lambda _: None
        backend.open()
        assert backend.write(batch) == ACCEPTED
        settle = {"elasticsearch": "_refresh", "opensearch": "_refresh"}.get(server)
        if settle is not None:
            backend._opened().ask("POST", f"/{backend.index}*/_refresh")
        assert len(list(backend.records(Query()))) == 4
