"""A frozen application finds the backends that it names as text."""

from __future__ import annotations

import importlib.util
import runpy
from importlib.metadata import entry_points
from pathlib import Path

from tallystick import plugins


def test_the_hook_of_pyinstaller_names_every_module_that_is_named_as_text() -> None:
    (point,) = [one for one in entry_points(group="pyinstaller40") if one.value.startswith("tallystick.")]
    (folder,) = point.load()()
    named = runpy.run_path(str(Path(folder) / "hook-tallystick.py"))["hiddenimports"]
    tables = (plugins.BACKENDS, plugins.CHANNELS, plugins.SHAPES)
    assert {where.partition(":")[0] for table in tables for where in table.values()} <= set(named)
    assert "tallystick.cli.export" in named
    assert [name for name in named if importlib.util.find_spec(name) is None] == []
