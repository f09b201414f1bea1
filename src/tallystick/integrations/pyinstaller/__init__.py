"""PyInstaller finds its hook here, by the entry point `pyinstaller40`: what is named as text goes into the bundle."""

from __future__ import annotations

from pathlib import Path

from tallystick import plugins


def hook_dirs() -> list[str]:
    """The folder of `hook-tallystick.py`."""
    return [str(Path(__file__).parent)]


def hidden_imports() -> list[str]:
    """The modules that are imported by their names: backends, channels, shapes, and the commands."""
    named = {
        where.partition(":")[0]
        for table in (plugins.BACKENDS, plugins.CHANNELS, plugins.SHAPES)
        for where in table.values()
    }
    commands = Path(__file__).parents[2] / "cli"
    named |= {
        ".".join(("tallystick", "cli", *path.relative_to(commands).with_suffix("").parts)).removesuffix(".__init__")
        for path in commands.rglob("*.py")
    }
    return sorted(named)
