"""Two homes that stand for two hosts: one forwards into a channel, the other delivers from it."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from tests.integration.cli.running import Running, as_json, eventually, tallystick
from tests.services import service

from tallystick import Metrics, Query, QueryError

pytestmark = [pytest.mark.service("redis"), pytest.mark.service("nats"), pytest.mark.service("kafka")]

URLS = {"redis": "stream", "nats": "stream", "kafka": "topic"}


@pytest.fixture(params=URLS)
def channel(request: pytest.FixtureRequest) -> str:
    return f"{service(request.param)}?{URLS[request.param]}=test-{secrets.token_hex(6)}"


def record(channel: str, home: Path, backend: str, count: int) -> None:
    with Metrics(backend, channel=channel, home=home, deliver="off") as metrics:
        for number in range(count):
            metrics.increment("hits", number)


def count(database: str) -> float:
    found = as_json("query", "hits", "--backend", database, "--aggregate", "count")["series"]
    return float(found[0]["points"][0][1]) if found else 0.0


def test_records_go_from_one_host_through_a_channel_to_the_database_of_another(channel: str, tmp_path: Path) -> None:
    near, far, database = tmp_path / "near", tmp_path / "far", f"sqlite:///{tmp_path}/far.db"
    record(channel, near, database, 500)
    with Running(tmp_path, "agent", "--home", str(far), "--from", channel, "--to", database) as agent:
        agent.waits_to_say(f"to {database}")
        done = tallystick("agent", "--home", str(near), "--once")
        assert "500 delivered" in done.stderr
        eventually(lambda: (tmp_path / "far.db").exists() and count(database) == 500, "all are there")
        record(channel, near, database, 7)
        tallystick("agent", "--home", str(near), "--once")
        eventually(lambda: count(database) == 507, "the next are there")
        assert agent.stop() == 0
    (books,) = as_json("status", "--home", str(far))["pipelines"]
    assert (books["totals"]["accepted"], books["totals"]["delivered"]) == (507, 507)


def test_each_target_of_a_channel_has_its_own_progress(tmp_path: Path) -> None:
    channel = f"{service('redis')}?stream=test-{secrets.token_hex(6)}"
    first, second = (f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second"))
    targets = ("--to", first, "--to", second)
    far = str(tmp_path / "far")
    tallystick("agent", "--home", far, "--from", channel, *targets, "--once")  # the groups are there from now on
    record(channel, tmp_path / "near", first, 20)
    tallystick("agent", "--home", str(tmp_path / "near"), "--once")
    tallystick("agent", "--home", far, "--from", channel, *targets, "--drain")
    assert (count(first), count(second)) == (20, 20)


def test_the_application_asks_the_database_behind_the_channel(tmp_path: Path) -> None:
    channel = f"{service('redis')}?stream=test-{secrets.token_hex(6)}"
    database = f"sqlite:///{tmp_path}/far.db"
    with Metrics(database, channel=channel, home=tmp_path / "near") as metrics:
        metrics.increment("hits")
        assert metrics.flush(20), "forwarded"
        tallystick("agent", "--home", str(tmp_path / "far"), "--from", channel, "--to", database, "--drain")
        assert metrics.query(Query("hits", aggregate="count"))[0].points[0][1] == 1
    with Metrics(channel=channel, home=tmp_path / "other") as metrics, pytest.raises(QueryError, match="set `backend`"):
        metrics.query(Query("hits"))


def test_from_and_to_go_together() -> None:
    done = tallystick("agent", "--from", "redis://127.0.0.1:1", ok=False)
    assert done.returncode == 2
    assert "--from and --to go together" in done.stderr
