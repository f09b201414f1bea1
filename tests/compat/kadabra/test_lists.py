"""Kadabra's Redis list, both ends, on a real Redis and a real InfluxDB."""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import redis

from tallystick.compat import kadabra
from tallystick.compat.kadabra import sending
from tests.services import service

pytestmark = [pytest.mark.service("redis"), pytest.mark.service("influxdb1")]
AT = dt.datetime(2016, 11, 16, 22, 6, 21, 920492)  # noqa: DTZ001  (naive means UTC)


def influx(statement: str, database: str = "") -> Any:
    url = service("influxdb1").replace("influxdb://", "http://").rstrip("/")
    request = urllib.request.Request(f"{url}/query?epoch=ns&db={database}&q={quote(statement)}", b"", method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())["results"][0].get("series", [])


def test_what_is_sent_becomes_kadabras_points_and_a_bad_entry_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    name = f"kadabra-{os.getpid()}"
    at, store = urlsplit(service("redis")), urlsplit(service("influxdb1"))
    where = {"host": at.hostname, "port": at.port, "queue_key": name, "inprogress_key": f"{name}-p"}
    lists: Any = redis.Redis(at.hostname or "", at.port or 0)
    lists.lpush(name, "no json")
    client = kadabra.Kadabra({"CLIENT_CHANNEL_ARGS": where})
    for _ in range(2):
        collector = client.metrics()
        collector.set_dimension("env", "prod")
        collector.add_count("orders", 2.5, timestamp=AT, metadata={"user": "u1"})
        client.send(collector.close())
    assert sending._metrics.popitem()[1].flush(10)
    sent = lists.lrange(name, 0, 0)[0].decode()
    assert sent == json.dumps(json.loads(sent))
    agent = kadabra.Agent(
        {
            "AGENT_CHANNEL_ARGS": where,
            "AGENT_PUBLISHER_TYPE": "influxdb",
            "AGENT_PUBLISHER_ARGS": {"host": store.hostname, "port": store.port, "database": name},
        }
    )
    runs = threading.Thread(target=agent.start)
    runs.start()
    deadline = time.monotonic() + 20
    try:
        while (lists.llen(name) or lists.llen(f"{name}-p")) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        agent.stop()
        runs.join(10)
    assert not runs.is_alive()
    assert lists.keys(f"{name}-p*") == []
    (series,) = influx('SELECT * FROM "orders"', name)
    assert series["columns"] == ["time", "env", "user", "value"]
    assert series["values"][0] == [1479333981920492000, "prod", "u1", 2.5]
    assert len(series["values"]) == 2
    influx(f'DROP DATABASE "{name}"')
