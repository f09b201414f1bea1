"""A remedy that is a script is printed to be copied."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from tests.services import service
from tests.unit.cli.calling import call

from tallystick import Metrics
from tallystick.pipelines.agents import spool_agent
from tallystick.plugins import backend_from_url
from tallystick.spool.folder import Folder

pytestmark = pytest.mark.service("postgresql")


def logged(url: str, home: Path, caplog: pytest.LogCaptureFixture, *, tries: int) -> str:
    """What agents of this process log when they try to deliver a record."""
    with Metrics(url, home=home, pipeline="poor", deliver="off") as metrics:
        metrics.increment("a")
    for _ in range(tries):
        assert not spool_agent(Folder(home, "poor"), backend_from_url(url), url=url).run("passed")
    return caplog.text


def test_the_script_for_an_administrator_is_printed_a_statement_a_line_and_can_be_run_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "home"))
    url, role = service("postgresql"), f"poor_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        try:
            mine = f"{url.replace('postgres@', f'{role}@')}?schema={role}"
            said = call("setup", "--backend", mine, exits=1).stderr
            sentence, *statements = said.splitlines()
            assert sentence.endswith("add setup=no to the URL:")
            assert all(statement.endswith(";") for statement in statements)
            assert "\n".join(statements) in call("query", "--backend", mine, exits=1).output
            doctor = call("doctor", "--backend", mine, exits=1).stdout
            assert "or let an administrator run this and add setup=no to the URL: the script that" in doctor
            assert "GRANT" not in doctor
            assert [line[:4] for line in doctor.splitlines() if line[:4] not in ("ok  ", "warn", "fail")] == []
            said = logged(mine, tmp_path / "poor", caplog, tries=2)
            assert said.count("\n".join(["", *statements, ""])) == 1, (
                "a process logs it once, however often it is tried"
            )
            assert said.count("GRANT USAGE") == 1
            assert said.count("or let an administrator run this") > 1
            connection.execute("\n".join(statements))
            call("check", "--backend", f"{mine}&setup=no")
            assert "answers" in call("doctor", "--backend", f"{mine}&setup=no").stdout
            assert call("query", "--backend", f"{mine}&setup=no").stderr.startswith("No record")
        finally:
            connection.execute(f"DROP SCHEMA IF EXISTS {role} CASCADE")
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")
