"""What the library puts into files and onto wires is text of a closed set of types: reading it runs nobody's code."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "tallystick"
THAT_RUN_WHAT_THEY_READ = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "dbm"}


def imported(source: str) -> set[str]:
    """The top names of all modules that this source imports, wherever it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_nothing_is_ever_pickled() -> None:
    assert imported("def f():\n    from pickle import loads\n") == {"pickle"}
    found = {path: imported(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}
    assert "msgspec" in set.union(*found.values())
    # The door for Kaneda's old jobs reads pickles of plain values: its unpickler finds no class and no function.
    allowed = {SOURCE / "compat" / "kaneda" / "plain_jobs.py"}
    assert {path for path, names in found.items() if names & THAT_RUN_WHAT_THEY_READ} == allowed
