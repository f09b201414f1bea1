"""Without pytest `capture` is there as ever, and who asks for the contract is told what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules['pytest'] = None\n"


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT + program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["BackendContract", "deliver"])
def test_the_contract_without_pytest_is_refused_with_the_remedy(name: str) -> None:
    said = run(f"from tallystick.testing import {name}").stderr.splitlines()[-1]
    assert "MissingExtra" in said
    assert said.endswith("pytest is not installed; run: pip install 'tallystick[test]'")


def test_capture_needs_no_pytest() -> None:
    done = run("from tallystick.testing import capture, make_batch; import tallystick.testing as t; assert capture")
    assert (done.returncode, done.stderr) == (0, "")
    assert "AttributeError" in run("import tallystick.testing as t; t.no_such_thing").stderr
