"""A Django project: requests by route, typed records, commits, checks and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_project_s_requests_are_recorded_by_route_and_what_commits_is_recorded(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parent / "program.py"), str(tmp_path / "m.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    first, _, rest = done.stdout.partition("\n")
    said = json.loads(first)
    assert said == {
        "checks": [],
        "requests": [["/broken/", "500", 1], ["/item/<int:number>/", "200", 3], ["unmatched", "404", 1]],
        "exceptions": [["/broken/", "KeyError", 1]],
        "typed": 1,
        "bought": [[1]],
        "rolled back": [],
        "wrong": ["tallystick.E001"],
    }
    assert "bought" in rest
