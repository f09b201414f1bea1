"""The how-to pages of InfluxDB 3 and RethinkDB, every block, on stand-ins: no package ships the servers.

`tests/test_docs.py` runs the pages whose servers can be had, and leaves these blocks out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import test_docs
from tests.contract.influxdb3_standin import StandIn as Influxdb3
from tests.rethinkdb.standin import StandIn as Rethinkdb

PAGES = Path(__file__).parents[2] / "docs" / "how-to" / "backends"
NOT_RUN = re.compile(r"<!-- not run: .*stand-in -->\n")


def follow(page: str, folder: Path, addresses: dict[str, str]) -> None:
    """Run the blocks that the page says run on a stand-in, in order; what it shows of the answers must be answered."""
    text = (PAGES / page).read_text()
    assert NOT_RUN.search(text)
    text = NOT_RUN.sub("", text)
    for address, real in addresses.items():
        assert address in text
        text = text.replace(address, real)
    copy = folder / page
    copy.write_text(text)
    test_docs.run(copy, folder)
    shown = [block for block in test_docs.blocks(copy) if block.language == "console" and block.not_run is None]
    for block in shown:
        expected = [line for line in block.text.splitlines() if not line.startswith("$ ")]
        assert set(expected) <= set(answered(test_docs.commands(block), folder) if expected else [])


def answered(commands: str, folder: Path) -> list[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TALLYSTICK_HOME": str(folder / "home" / "tallystick"), "NO_COLOR": "1"}
    done = subprocess.run(["bash", "-euc", commands], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_page_of_influxdb_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFLUXDB3_AUTH_TOKEN", "apiv3_right")
    with Influxdb3(token="apiv3_right") as server:
        for took, second in ((0.2, 1_763_683_200), (0.4, 1_763_683_201)):
            options = {"db": ["telegraf"], "precision": ["nanosecond"], "accept_partial": ["true"]}
            assert server._write(options, f"http,url=/cart response_time={took} {second}000000000")[0] == 204
        follow("influxdb3.md", tmp_path, {"localhost:8181": f"127.0.0.1:{server.port}"})
        assert set(server.databases) == {"telegraf", "shop"}


def test_the_page_of_rethinkdb(tmp_path: Path) -> None:
    with Rethinkdb() as server:
        addresses = {"localhost:28015": f"127.0.0.1:{server.port}", '"localhost", 28015': f'"127.0.0.1", {server.port}'}
        follow("rethinkdb.md", tmp_path, addresses)
        assert "docs_example" in server.store.databases
