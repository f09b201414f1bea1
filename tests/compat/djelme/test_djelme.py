"""A program of django-elasticsearch-metrics through the door, on a real server: names, templates, ids and documents.

The expected values were recorded with the package itself, version 2026.0.6.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.services import service

pytestmark = pytest.mark.service("elasticsearch8")
HERE = Path(__file__).parent
T = "2026-03-04T05:06:07.891234+00:00"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    host = service("elasticsearch8")
    host = f"http://{host.partition('://')[2].split('/')[0]}"
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "tallystick.compat.djelme", "--", str(HERE / "program.py")]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "TALLYSTICK_HOME": str(home)}
    prefix = f"door{uuid.uuid4().hex[:12]}-"
    done = subprocess.run(
        [*command, host, prefix], env=environment, capture_output=True, text=True, timeout=120, cwd=home
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_recording_before_setup_says_which_template_is_missing(said: dict[str, Any]) -> None:
    assert said["before setup"] == "doorapp_usageevent__template does not exist for UsageEvent"


def test_templates_are_the_package_s(said: dict[str, Any]) -> None:
    version, day = {"type": "version"}, {"type": "date"}
    assert said["templates"]["UsageEvent"]["mappings"]["properties"] == {
        "timeseries_timeparts": version,
        "timestamp": day,
        "item_id": {"type": "integer"},
    }
    rich = said["templates"]["Rich"]
    assert rich["mappings"]["properties"]["inner"] == {"type": "object", "properties": {"a": {"type": "keyword"}}}
    assert rich["mappings"]["properties"]["text"] == {"type": "text"}
    assert rich["settings"] == {"number_of_shards": 2, "hidden": True}
    assert said["templates"]["Monthly"]["mappings"]["properties"]["cycle_coverage"] == version


def test_documents_indices_and_ids_are_the_package_s(said: dict[str, Any]) -> None:
    monthly = "QY{tq8=nN;QX;bmCe#3D95t=%$hB29^UnpYJ4vZ--1YP8@g(R_pc^gG-A#)dQ#8ZUG<4-(_;pN+KgNI$"
    hello = "V0`d<8NsX5UQjv_YK_fD+9!nr;^?`WvJ%~vB<}v4=Gsk7VRO#CB5!jR?223lNbvbOIvX_7sNpXimPncE"
    report = {"cycle_coverage": "2026.3", "thing_id": "a", "count": 2, "created": T, "timeseries_timeparts": "2026.3"}
    moment = {"timestamp": T, "timeseries_timeparts": "2026.3.4.5.6.7"}
    found = said["documents"]
    session = found[4][2].pop("sessionhour_id")
    assert session == "IfaEfbQJMLU0Nz^z1v$t_BU{Ea0Q}W<yU#?q9h@(`2Yvxib2Ze`|Ec}REEPW;>prFN*ZZO^-c<gazscF"
    zoned = found[2][2].pop("timestamp")
    assert zoned == "2026-03-03T23:06:07.891234-06:00"
    assert found == [
        ["doorapp_usageevent_2026.3.4.", "", {"item_id": 5, "unknown_field": "kept", **moment}],
        [
            "doorapp_usageevent_2026.3.4.",
            "",
            {"item_id": 7, "timestamp": "2026-03-04T05:06:07+00:00", "timeseries_timeparts": "2026.3.4.5.6.7"},
        ],
        ["doorapp_hourlyevent_2026.3.4.5.", "", {"timeseries_timeparts": "2026.3.4.5.6.7"}],
        ["door_prefix-doorapp_logentry_2026.3.4.", "", moment],
        [
            "doorapp_download_2026.3.4.",
            "",
            {"platform_iri": "p", "database_iri": "d", "item_iri": "i", "kind": "k", **moment},
        ],
        ["doorapp_monthly_2026.3.1.", monthly, report],
        ["doorapp_monthly_2026.3.1.", monthly, report],
        ["door_app_key_val", hello, {"key": "hello", "val": 2}],
        ["doorapp_rich_2026.3.4.", "", {"s": "s", "inner": {"a": "x"}, **moment}],
    ]


def test_a_search_reads_its_own_writes_and_ends_within_an_index(said: dict[str, Any]) -> None:
    assert said["search"] == [5, 7]
    assert said["range"] == []
    assert said["range to within"] == "doorapp_usageevent_2025.1.30.*,doorapp_usageevent_2025.1.31.*"
    assert said["read"] == [2]


def test_expiry_is_known_of_names_with_underscores(said: dict[str, Any]) -> None:
    assert said["expired"] == [True]


def test_other_documents_keep_the_driver_s_mapping(said: dict[str, Any]) -> None:
    assert said["other documents"] == "text"
