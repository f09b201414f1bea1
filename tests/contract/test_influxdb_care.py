"""What `tallystick check` says of InfluxDB 1 and 2 before, and without, `setup`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from tests.contract.faults import write_once
from tests.contract.influxdb import drop, fresh, server_of, url_of
from tests.services import service

from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.backends.influxdb.servers import Server2
from tallystick.errors import Misconfigured
from tallystick.records import GAUGE, Record
from tallystick.testing import counters, make_batch
from tallystick.testing.builders import NOON_NS

pytestmark = pytest.mark.service("influxdb1", "influxdb2")

both = pytest.mark.parametrize("version", [1, 2])


def token_that_may(backend: InfluxdbBackend, *actions: str) -> str:
    server = server_of(backend)
    assert isinstance(server, Server2)
    place = {"type": "buckets", "id": server._place["bucket"], "orgID": server._place["orgID"]}
    wanted: dict[str, Any] = {"orgID": place["orgID"]}
    wanted["permissions"] = [{"action": action, "resource": place} for action in actions]
    answer = server.http.request("POST", "/api/v2/authorizations", msgspec.json.encode(wanted), "application/json")
    token: str = msgspec.json.decode(answer.body)["token"]
    return token


@both
def test_check_finds_what_is_missing_and_makes_nothing(version: int) -> None:
    backend = InfluxdbBackend.from_url(url_of(version))
    for _ in range(2):
        (line,) = backend.check()
        assert not line.ok
        assert "there is no" in line.what
        assert "tallystick setup creates it" in line.remedy
    assert backend.setup()[0].startswith("created the ")
    assert backend.check()[0].ok
    assert backend.setup() == []
    drop(backend)
    backend.close()


def test_a_wrong_token_is_no_missing_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_TEST_TOKEN", "wrong")
    place = urlsplit(service("influxdb2"))
    backend = InfluxdbBackend.from_url(f"influxdb2://{place.hostname}:{place.port}/b?token_env=TALLYSTICK_TEST_TOKEN")
    with pytest.raises(Misconfigured, match="401"):
        backend.check()


def test_check_blames_no_token_that_may_only_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """It delivers with `setup=no`, so that the doctor must not find fault with it."""
    with fresh(2) as owner:
        monkeypatch.setenv("TALLYSTICK_TEST_TOKEN", token_that_may(owner, "write"))
        place = f"{urlsplit(owner.address).netloc}/{owner._url.name}"
        url = f"influxdb2://{place}?org=tallystick&token_env=TALLYSTICK_TEST_TOKEN"
        writer = InfluxdbBackend.from_url(f"{url}&setup=no")
        write_once(writer, make_batch(*counters(3)))
        (line,) = writer.check()
        assert line.ok
        assert line.what.endswith("whether it has the bucket this token may not see")
        (line,) = InfluxdbBackend.from_url(url).check()
        assert not line.ok
        writer.close()


@both
def test_databases_that_are_dropped_meanwhile_hinder_no_replacing_and_no_forgetting(version: int) -> None:
    """The server looks at the shards of all its databases before it deletes, and some of them are closed just then."""
    enough, others = threading.Event(), 0

    def make_and_drop() -> None:
        nonlocal others
        while not enough.is_set():
            with fresh(version) as other:
                write_once(other, make_batch(*counters(3)))
            others += 1

    with fresh(version) as backend, ThreadPoolExecutor(2) as threads:
        try:
            neighbours = [threads.submit(make_and_drop) for _ in range(2)]
            for second in range(100):
                replaced = Record(NOON_NS + second * 1_000_000_000, GAUGE, "g", second, own_id="one")
                assert not backend.write(make_batch(replaced)).rejected
                assert backend.prune(4_102_444_800) == 1
        finally:
            enough.set()
        for neighbour in neighbours:
            neighbour.result()
        assert others > 10
