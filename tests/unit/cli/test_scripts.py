"""A remedy that is a script is printed to be copied."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from tests.services import service
from tests.unit.cli.calling import call

pytestmark = pytest.mark.service("postgresql")


def test_the_script_for_an_administrator_is_printed_a_statement_a_line_and_can_be_run_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
            for command in ("doctor", "query"):
                assert "\n".join(statements) in call(command, "--backend", mine, exits=1).output
            connection.execute("\n".join(statements))
            call("check", "--backend", f"{mine}&setup=no")
            assert "answers" in call("doctor", "--backend", f"{mine}&setup=no").stdout
            assert call("query", "--backend", f"{mine}&setup=no").stderr.startswith("No record")
        finally:
            connection.execute(f"DROP SCHEMA IF EXISTS {role} CASCADE")
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")
