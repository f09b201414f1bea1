"""The layout rules hold for this tree, and each of them notices what it forbids."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import rules

ROOT = Path(__file__).parent.parent

Rule = Callable[[Path], list[str]]
RULES: list[Rule] = [
    rules.wrong_way,
    rules.between_doors,
    rules.between_rooms,
    rules.cycles,
    rules.too_long,
    rules.vague_names,
    rules.unfinished,
    rules.foreign_at_the_top,
    rules.drivers_without_extra,
    rules.incomplete_backends,
    rules.broken_links,
]

GOOD = {
    "pyproject.toml": "[project.optional-dependencies]\nmongodb = ['pymongo']\n",
    "README.md": "# Read me\n\n[how](docs/how-to/backends/memory.md#the-url-of-it) [out](https://example.org/none)\n",
    "docs/how-to/backends/memory.md": "# Memory\n## The URL, of it\n`memory://`\n```\n[no](link.md)\n```\n",
    "src/tallystick/__init__.py": "from tallystick.recorder.metrics import Metrics\n",
    "src/tallystick/errors.py": "import json\n",
    "src/tallystick/plugins.py": (
        "import tallystick.errors\nBACKENDS: dict = {'memory': 'tallystick.backends.memory:MemoryBackend'}\n"
    ),
    "src/tallystick/recorder/__init__.py": "",
    "src/tallystick/recorder/metrics.py": "import msgspec\nfrom tallystick.errors import X\nclass Metrics: ...\n",
    "src/tallystick/backends/__init__.py": "from tallystick.backends.memory import MemoryBackend\n",
    "src/tallystick/backends/base.py": (
        "from typing import Protocol\n"
        "class Backend(Protocol):\n    def open(self) -> None: ...\n"
        "class BaseBackend:\n    def report(self):\n        raise NotImplementedError('define report')\n"
    ),
    "src/tallystick/backends/memory.py": (
        "import tallystick.errors\n"
        "class MemoryBackend:\n    def open(self):\n        try:\n            import pymongo\n"
        "        except ImportError as error:\n            raise missing_extra('mongodb', error) from error\n"
    ),
    "src/tallystick/cli/__init__.py": "import click\nfrom tallystick.recorder import metrics\n",
    "tests/contract/test_memory.py": "class TestMemory(BackendContract):\n    def make(self): return MemoryBackend()\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree that keeps all the rules."""
    for name, text in GOOD.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_this_tree_keeps_the_rule(rule: Rule) -> None:
    found = rule(ROOT)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_tree_keeps_the_rule(rule: Rule, tree: Path) -> None:
    assert rule(tree) == []


LAZY = "def f():\n    from {} import x\n"
TYPING = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {}\n"
PAGE = "../../docs/how-to/backends/memory.md"
BROKEN: list[tuple[Rule, str, str, str]] = [
    (rules.wrong_way, "errors.py", "import tallystick.recorder.metrics", "tallystick.errors:1 (the ground floor)"),
    (rules.wrong_way, "errors.py", LAZY.format("tallystick.backends"), "imports tallystick.backends (a room)"),
    (rules.wrong_way, "errors.py", TYPING.format("tallystick.backends.base"), "tallystick.errors:3"),
    (rules.wrong_way, "errors.py", "from .backends import base", "imports tallystick.backends.base (a room)"),
    (rules.wrong_way, "recorder/metrics.py", "from tallystick.cli import main", "imports tallystick.cli (a door)"),
    (rules.wrong_way, "recorder/metrics.py", "from ..cli import main", "imports tallystick.cli (a door)"),
    (rules.wrong_way, "cli/__init__.py", "from tallystick import Metrics", "imports tallystick (the front door)"),
    (rules.wrong_way, "cli/__init__.py", "import tallystick", "imports tallystick (the front door)"),
    (rules.wrong_way, "attic/x.py", "", "attic/ is neither a room nor a door"),
    (rules.between_doors, "testing/x.py", "from tallystick.cli import main", "imports tallystick.cli (another door)"),
    (rules.between_doors, "cli/x.py", LAZY.format("tallystick.compat"), "imports tallystick.compat (another door)"),
    (rules.between_rooms, "backends/memory.py", "import tallystick.spool.folder", "must know nothing of spool/"),
    (rules.between_rooms, "pipelines/x.py", "import tallystick.recorder.metrics", "must know nothing of recorder/"),
    (rules.cycles, "errors.py", LAZY.format("tallystick.plugins"), "errors → tallystick.plugins → tallystick.errors"),
    (rules.cycles, "backends/memory.py", TYPING.format("tallystick.backends"), "memory → tallystick.backends"),
    (rules.cycles, "backends/memory.py", "from . import MemoryBackend", "memory → tallystick.backends"),
    (rules.too_long, "long.py", "x = 1\n" * 401, "src/tallystick/long.py has 401 lines"),
    (rules.vague_names, "recorder/_utils.py", "", "'utils' says nothing"),
    (rules.unfinished, "errors.py", "x = 1  # TODO: more", "errors.py:1 says 'TODO'"),
    (rules.unfinished, "errors.py", '"""FIXME: all"""', "errors.py:1 says 'FIXME'"),
    (rules.unfinished, "errors.py", "def f():\n    raise NotImplementedError", "errors.py:1 f is a stub"),
    (rules.unfinished, "errors.py", "class A:\n    async def f(self):\n        '''Doc.'''\n        ...", "f is a stub"),
    (rules.foreign_at_the_top, "backends/memory.py", "import pymongo", "imports pymongo with the module"),
    (rules.foreign_at_the_top, "backends/memory.py", "if 1:\n    import pymongo.errors", "imports pymongo"),
    (rules.foreign_at_the_top, "recorder/metrics.py", "from rich import box", "imports rich with the module"),
    (rules.drivers_without_extra, "backends/memory.py", "def f():\n    import pymongo", "imports pymongo and no"),
    (rules.drivers_without_extra, "backends/memory.py", "missing_extra('mongo', e)", "'mongo', which pyproject.toml"),
    (rules.incomplete_backends, "plugins.py", "BACKENDS: dict = {'x': 'a.b:MemoryBackend'}", "x:// has no page"),
    (rules.incomplete_backends, PAGE, "# Memory", "does not show memory://"),
    (rules.incomplete_backends, "../../tests/contract/test_memory.py", "x = MemoryBackend", "is in no test class"),
    (rules.broken_links, "../../README.md", "[a](docs/none.md)", "README.md: docs/none.md does not exist"),
    (rules.broken_links, "../../README.md", "[a](docs/how-to/backends/memory.md#b)", "no such heading"),
    (rules.broken_links, PAGE, "[a](#b)", "#b has no such heading"),
]


@pytest.mark.parametrize(("rule", "file", "text", "violation"), BROKEN)
def test_a_broken_tree_is_noticed(rule: Rule, file: str, text: str, violation: str, tree: Path) -> None:
    path = tree / "src" / "tallystick" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert violation in "\n".join(rule(tree))


def test_importing_the_front_door_loads_no_agent_no_backend_and_no_driver() -> None:
    """Of other distributions only msgspec and what it brings; of the standard library no database."""
    probe = (
        "import json, sys; before = set(sys.modules); import tallystick; new = set(sys.modules) - before;"
        "print(json.dumps({name: str(getattr(sys.modules[name], '__file__', '')) for name in new}))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded: dict[str, str] = json.loads(done.stdout)
    parts = {name.split(".")[1] for name in loaded if name.startswith("tallystick.")}
    assert parts & (rules.ROOMS | rules.DOORS) <= {"recorder", "spool", "pipelines"}
    foreign = {name.split(".")[0] for name, file in loaded.items() if "site-packages" in file}
    assert foreign <= {"msgspec", "typing_extensions"}
    assert not {"sqlite3", "asyncio", "ssl", "http", "tomllib", "multiprocessing"} & set(loaded)
