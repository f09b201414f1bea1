"""The way to InfluxDB 1 and 2: compressed, encrypted, cut by a crash of the server, and not shared with a child."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.faults import write_once, write_until_stored
from tests.contract.http_gate import HttpGate
from tests.contract.influxdb import drop, is_write, names, url_of
from tests.contract.search_access import certificates
from tests.services import kill, restart, service

from tallystick.backends.influxdb import InfluxdbBackend
from tallystick.errors import Misconfigured, Unavailable
from tallystick.queries import Query
from tallystick.testing import counters, make_batch

pytestmark = pytest.mark.service("influxdb1", "influxdb2")

both = pytest.mark.parametrize("version", [1, 2])


@pytest.fixture
def gate(version: int) -> Iterator[HttpGate]:
    with HttpGate(service(f"influxdb{version}")) as gate:
        yield gate


@both
def test_bodies_are_compressed_when_asked_for_and_to_other_hosts(version: int, gate: HttpGate) -> None:
    backend = InfluxdbBackend.from_url(url_of(version, gate.port, gzip="yes"))
    batch = make_batch(*counters(3_000))
    write_once(backend, batch)
    bodies = [request for request in gate.requests if is_write(request)]
    assert {request.headers["content-encoding"] for request in bodies} == {"gzip"}
    assert sum(gzip.decompress(request.body).count(b"\n") + 1 for request in bodies) == 3_000
    assert len(names(backend)) == 3_000
    drop(backend)
    backend.close()
    far = InfluxdbBackend.from_url("influxdb://db.example.org/metrics")
    assert far._version(far._url).http._compress


@pytest.mark.service("elasticsearch")
@pytest.mark.parametrize("scheme", ["influxdb", "influxdb2"])
def test_a_server_that_is_no_influxdb_is_called_that(scheme: str) -> None:
    place = service("elasticsearch").partition("://")[2]
    backend = InfluxdbBackend.from_url(f"{scheme}://{place}/metrics")
    with pytest.raises(Misconfigured, match="is no InfluxDB"):
        backend.open()
    with pytest.raises(Misconfigured, match="is no InfluxDB"):
        backend.write(make_batch(*counters(3)))
    backend.close()


@both
def test_tls_is_verified_unless_somebody_says_otherwise(version: int, tmp_path: Path) -> None:
    certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    mine: dict[str, Any] = {"cert_file": tmp_path / "client.pem", "key_file": tmp_path / "client.key"}
    with HttpGate(service(f"influxdb{version}"), context) as gate:
        with pytest.raises(Misconfigured, match="ca_file="):
            InfluxdbBackend.from_url(url_of(version, gate.port, tls="+https", **mine)).open()
        backend = InfluxdbBackend.from_url(
            url_of(version, gate.port, tls="+https", ca_file=tmp_path / "ca.pem", **mine)
        )
        write_once(backend, make_batch(*counters(5)))
        assert len(names(backend)) == 5
        backend.close()
        lax = InfluxdbBackend.from_url(url_of(version, gate.port, tls="+https", insecure_tls="yes", **mine))
        lax.open()
        drop(lax)
        drop(backend)
        lax.close()


@both
def test_after_kill_9_of_the_server_and_its_restart_delivery_goes_on_and_nothing_is_twice(version: int) -> None:
    name = f"influxdb{version}"
    port = int(service(name, own=True).rpartition(":")[2])
    backend = InfluxdbBackend.from_url(url_of(version, port, timeout_seconds=2))
    first, second = make_batch(*counters(50)), make_batch(*counters(50))
    write_until_stored(backend, first)
    kill(name)
    with pytest.raises(Unavailable):
        write_once(backend, second)
    restart(name)
    write_until_stored(backend, second)
    write_until_stored(backend, first)
    found = sorted(record.id for record in backend.records(Query()))
    assert found == sorted(record.id for batch in (first, second) for record in batch.records)
    backend.close()
