"""The layout rules. Each takes the root of a tree and gives the violations found there, one sentence each.

Imports are read from the syntax tree, so lazy ones inside functions and those under TYPE_CHECKING count like any other.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "tallystick"
ROOMS = {"recorder", "typed", "spool", "channels", "agent", "backends", "pipelines"}
DOORS = {"cli", "testing", "dashboard", "integrations", "compat", "__main__"}
KNOWS_NOTHING_OF = {
    "backends": {"spool", "agent", "recorder", "pipelines"},
    "pipelines": {"recorder"},
    "spool": {"agent"},
}
"""Rooms that a room must not import, although they stand beside it; `disk`, which knows no spool, is for all."""

MAX_LINES = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "shared"}
OTHERS_NAMES = {
    "tallystick.compat.kadabra.utils",
    "tallystick.compat.kaneda.utils",
    *(
        f"tallystick.compat.djelme.util{module}"
        for module in ("", ".anon_enough", ".django", ".index_status", ".timeparts", ".timeseries_naming")
    ),
}
"""Modules of a door that have the name that its users import."""
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
LEFT_TO_THE_USER = {
    ("backends/base.py", "report"),
    ("testing/base.py", "make_backend"),
    ("testing/base.py", "reopen"),
    ("testing/channels.py", "make_channel"),
    ("testing/channels.py", "reopen"),
    ("testing/channels.py", "put"),
}
ITS_OWN_TESTS = {"LogBackend": "tests/unit/test_log.py"}
"""Backends outside of the contract, and their tests. A log's lines stay: what is sent twice is there twice."""

AT_THE_TOP = {"msgspec": None, "click": "cli", "rich": "cli", "pytest": "testing", "hypothesis": "testing"}
"""Third-party packages that may be imported with a module, and the one folder where, if not everywhere."""
ALSO_AT_THE_TOP = {("tallystick.compat.kaneda.tasks.zmq", "click")}
"""A command that a door brings along."""
MADE_OF_ANOTHER = {
    "tallystick.compat.djelme": {"django", "elasticsearch8"},
    "tallystick.integrations.django": {"django", "asgiref"},
}
"""Doors whose classes are subclasses of another package's, so that it comes with their modules."""


def source(root: Path) -> Path:
    return root / "src" / PACKAGE


def modules(root: Path) -> dict[str, Path]:
    """Dotted name → file, of every module of the package."""
    found = {}
    for path in sorted(source(root).rglob("*.py")):
        parts = path.relative_to(root / "src").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree_of(path: Path, changed_ns: int) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def tree(path: Path) -> ast.Module:
    return tree_of(path, path.stat().st_mtime_ns)


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """Every module that this one imports, with the line; of our own package, the module that really is one."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in known else base, node.lineno)


def own_imports(root: Path) -> dict[str, list[tuple[str, int]]]:
    known = modules(root)
    return {
        name: [(to, line) for to, line in imports(name, path, known) if to.split(".")[0] == PACKAGE]
        for name, path in known.items()
    }


def level(name: str) -> int:
    """0 the ground floor, 1 the rooms, 2 the doors, 3 the front door."""
    if name == PACKAGE:
        return 3
    part = name.split(".")[1]
    return 1 if part in ROOMS else 2 if part in DOORS else 0


def wrong_way(root: Path) -> list[str]:
    """Imports go one way: ground floor ← rooms ← doors; nothing imports the front door; each folder has its level."""
    wrong = [
        f"{folder.name}/ is neither a room nor a door"
        for folder in source(root).iterdir()
        if folder.is_dir() and any(folder.rglob("*.py")) and folder.name not in ROOMS | DOORS
    ]
    words = ("the ground floor", "a room", "a door", "the front door")
    for name, found in own_imports(root).items():
        for to, line in found:
            if level(to) > level(name) or (to == PACKAGE and name != PACKAGE):
                wrong.append(f"{name}:{line} ({words[level(name)]}) imports {to} ({words[level(to)]})")
    return wrong


def between_doors(root: Path) -> list[str]:
    """A door imports no other door: what two of them need is decided in a room."""
    return [
        f"{name}:{line} (a door) imports {to} (another door)"
        for name, found in own_imports(root).items()
        for to, line in found
        if name != f"{PACKAGE}.__main__" and level(name) == level(to) == 2 and _part(name) != _part(to)
    ]


def between_rooms(root: Path) -> list[str]:
    """A room imports none of those that it must know nothing of."""
    return [
        f"{name}:{line} imports {to}, and {_part(name)}/ must know nothing of {_part(to)}/"
        for name, found in own_imports(root).items()
        for to, line in found
        if PACKAGE not in (name, to)
        and to != f"{PACKAGE}.spool.disk"
        and _part(to) in KNOWS_NOTHING_OF.get(_part(name), ())
    ]


def _part(name: str) -> str:
    """The room, the door, or the module of the ground floor."""
    return name.split(".")[1]


def cycles(root: Path) -> list[str]:
    """Every import cycle, once. Walks depth first; a step to a module that is still being walked closes a cycle."""
    graph = {name: sorted({to for to, _ in found if to != name}) for name, found in own_imports(root).items()}
    found, done = [], set()

    def walk(name: str, way: list[str]) -> None:
        if name in way:
            found.append(" → ".join([*way[way.index(name) :], name]))
        elif name not in done:
            for to in graph.get(name, ()):
                walk(to, [*way, name])
            done.add(name)

    for name in graph:
        walk(name, [])
    return found


def too_long(root: Path) -> list[str]:
    lengths = {path: len(path.read_text().splitlines()) for path in modules(root).values()}
    return [
        f"{path.relative_to(root)} has {n} lines, more than {MAX_LINES}" for path, n in lengths.items() if n > MAX_LINES
    ]


def vague_names(root: Path) -> list[str]:
    names = [(name, part.lstrip("_")) for name in set(modules(root)) - OTHERS_NAMES for part in name.split(".")]
    return [f"{name}: {part!r} says nothing about what is in it" for name, part in names if part in VAGUE]


def unfinished(root: Path) -> list[str]:
    """Notes to oneself, NotImplementedError, and functions of `...` outside of protocols and overloads."""
    wrong = []
    for path in modules(root).values():
        place = path.relative_to(source(root)).as_posix()
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                note = token.type in {tokenize.COMMENT, tokenize.STRING} and UNFINISHED.search(token.string)
                if note:
                    wrong.append(f"{place}:{token.start[0]} says {note[1]!r}")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases):
                continue
            functions = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            wrong += [f"{place}:{f.lineno} {f.name} is a stub" for f in functions if _is_stub(f, place)]
    return wrong


def _is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef, place: str) -> bool:
    if any("overload" in ast.unparse(decorator) for decorator in function.decorator_list):
        return False
    if (place, function.name) in LEFT_TO_THE_USER:
        return False
    raised = [ast.unparse(node.exc) for node in ast.walk(function) if isinstance(node, ast.Raise) and node.exc]
    last = function.body[-1]
    empty = isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...
    return empty or any(text.startswith("NotImplementedError") for text in raised)


def foreign_at_the_top(root: Path) -> list[str]:
    """Drivers are imported when a backend opens, inside a function; only the core packages come with a module."""
    wrong = []
    for name, path in modules(root).items():
        functions = [n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        inside = {id(node) for function in functions for node in ast.walk(function)}
        folder = name.split(".")[1] if "." in name else ""
        for node in ast.walk(tree(path)):
            if id(node) in inside:
                names = []
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            wrong += [
                f"{name}:{getattr(node, 'lineno', 0)} imports {top} with the module"
                for top in {dotted.split(".")[0] for dotted in names} - {*sys.stdlib_module_names, PACKAGE}
                if top not in AT_THE_TOP or AT_THE_TOP[top] not in {None, folder}
                if (name, top) not in ALSO_AT_THE_TOP
                if not any(name.startswith(door) and top in those for door, those in MADE_OF_ANOTHER.items())
            ]
    return wrong


def drivers_without_extra(root: Path) -> list[str]:
    """A backend that imports a driver names the extra that brings it, `missing_extra("name", …)`, and it exists."""
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    ours, wrong = {*sys.stdlib_module_names, *AT_THE_TOP, PACKAGE}, []
    for name, path in modules(root).items():
        named = {
            node.args[0].value
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "missing_extra"
            if node.args and isinstance(node.args[0], ast.Constant)
        }
        wrong += [
            f"{name} names the extra {extra!r}, which pyproject.toml lacks" for extra in named if extra not in extras
        ]
        drivers = {to.split(".")[0] for to, _ in imports(name, path, {})} - ours - {""}
        if drivers and not named and name.startswith(f"{PACKAGE}.backends."):
            wrong.append(f"{name} imports {', '.join(sorted(drivers))} and no missing_extra() says how to install it")
    return wrong


def backends(root: Path) -> dict[str, tuple[str, str]]:
    """Scheme → module and class, as the table in plugins.py says, read without importing it."""
    for node in tree(source(root) / "plugins.py").body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "BACKENDS" and node.value:
            table = ast.literal_eval(node.value)
            return {scheme: (where.split(":")[0], where.split(":")[1]) for scheme, where in table.items()}
    raise AssertionError("plugins.py has no table BACKENDS")


def incomplete_backends(root: Path) -> list[str]:
    """Every backend has a how-to page that shows each of its schemes, and is held to the contract suite."""
    tested = ""
    for path in (root / "tests" / "contract").rglob("*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Contract") for base in node.bases):
                tested += ast.unparse(node) + "\n"
    for name, file in ITS_OWN_TESTS.items():
        if (root / file).is_file() and name in (root / file).read_text():
            tested += f" {name}"
    wrong = []
    for scheme, (module, name) in backends(root).items():
        page = root / "docs" / "how-to" / "backends" / f"{module.rpartition('.')[2]}.md"
        if not page.is_file():
            wrong.append(f"{scheme}:// has no page {page.relative_to(root)}")
        elif f"{scheme}://" not in page.read_text():
            wrong.append(f"{page.relative_to(root)} does not show {scheme}://")
        if not re.search(rf"\b{name}\b", tested):
            wrong.append(f"{name} is in no test class under tests/contract that subclasses BackendContract")
    return wrong


def broken_links(root: Path) -> list[str]:
    """Relative links in our pages whose file or heading does not exist."""
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    wrong = []
    for page in pages:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            file, _, heading = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            if not target.exists():
                wrong.append(f"{page.relative_to(root)}: {link} does not exist")
            elif heading and heading not in _headings(target):
                wrong.append(f"{page.relative_to(root)}: {link} has no such heading")
    return wrong


def _headings(page: Path) -> set[str]:
    """The anchors of a page: lower case, punctuation dropped, spaces as hyphens."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+\s+(.*?)\s*$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
