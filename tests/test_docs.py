"""The examples of README.md and docs/ run.

All blocks of a page run in order, in one process of its own, in an empty folder with an empty home. `python` blocks
share one namespace; of `console` blocks the lines after `$ `, and `bash` blocks whole, go to bash, which stops at a
command that fails. `toml` blocks are settings, which must load; `json` blocks must be JSON. A comment before a block:

    <!-- not run: needs a second host -->                  the reason why it is not run
    <!-- file: my_backend.py -->                           not run but kept under this name, for the blocks that follow
    <!-- needs: opensearch at localhost:9200 -->           a server, and how the page's blocks from here on call it
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from scripts import settings_page

from tallystick.settings import load_settings
from tests.services import service

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python", "console", "bash", "toml", "json", "text", ""}
TIMEOUT_SECONDS = 120


class Block(NamedTuple):
    line: int
    language: str
    text: str
    not_run: str | None
    needs: str
    file: str | None


def blocks(page: Path) -> Iterator[Block]:
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    said: dict[str, str] = {}
    for number, line in lines:
        if comment := re.fullmatch(r"<!-- (not run|needs|file): *(.*?) *-->", line):
            said[comment[1]] = comment[2]
        elif fence := re.fullmatch(r"( *)(`{3,})(\w*).*", line):
            inside = []
            for _, text in lines:
                if text.strip() == fence[2]:
                    break
                inside.append(text.removeprefix(fence[1]))
            text = "\n".join(inside) + "\n"
            yield Block(number + 1, fence[3], text, said.get("not run"), said.get("needs", ""), said.get("file"))
            said = {}


def commands(block: Block) -> str:
    """What bash is given."""
    if block.language == "bash":
        return block.text
    return "".join(line.removeprefix("$ ") + "\n" for line in block.text.splitlines() if line.startswith("$ "))


def program(page: Path) -> str:
    """The page as one Python program, whose tracebacks name the page and its line."""
    parts, calls = ["import subprocess\npage = {'__name__': '__main__'}\n"], {}
    for block in blocks(page):
        if block.needs:
            name, at, address = block.needs.partition(" at ")
            assert at, f"{page}:{block.line}: write <!-- needs: NAME at HOST:PORT -->"
            calls[address] = urlsplit(service(name)).netloc.rpartition("@")[2]
        text = block.text if block.language == "python" else commands(block)
        for address, real in calls.items():
            text = text.replace(address, real)
        if block.not_run is not None or not text.strip():
            continue
        if block.file is not None:
            parts.append(f"open({block.file!r}, 'w').write({text!r})\n")
        elif block.language == "python":
            code = "\n" * (block.line - 1) + text
            parts.append(f"exec(compile({code!r}, {str(page)!r}, 'exec', dont_inherit=True), page)\n")
        elif block.language in {"console", "bash"}:
            parts.append(f"subprocess.run(['bash', '-euc', {text!r}, '{page.name}:{block.line}'], check=True)\n")
    return "".join(parts)


def run(page: Path, folder: Path) -> None:
    (folder / "home").mkdir()
    (folder / "work").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TALLYSTICK_")},
        "HOME": str(folder / "home"),
        "TALLYSTICK_HOME": str(folder / "home" / "tallystick"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-c", program(page)],
        cwd=folder / "work",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            pytest.fail(f"{page} did not end in {TIMEOUT_SECONDS} s\n{output}", pytrace=False)
    if process.returncode:
        pytest.fail(f"{page}: exit code {process.returncode}\n{output}", pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_the_page_run(page: Path, tmp_path: Path) -> None:
    run(page, tmp_path)


def test_settings_in_the_pages_load_and_json_is_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for page in PAGES:
        for block in blocks(page):
            if block.language == "json" and block.not_run is None:
                json.loads(block.text)
            if block.language == "toml" and block.not_run is None:
                for name in ("tallystick.toml", "pyproject.toml"):
                    (tmp_path / name).unlink(missing_ok=True)
                (tmp_path / ("pyproject.toml" if "[" in block.text.split("=")[0] else "tallystick.toml")).write_text(
                    block.text
                )
                load_settings()


def test_the_page_of_settings_is_what_the_table_says() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "run: python scripts/settings_page.py"


def test_every_block_says_its_language_and_why_it_is_not_run() -> None:
    """And few are not: otherwise the pages promise what nobody proves."""
    found = [(f"{page.relative_to(ROOT)}:{block.line}", block) for page in PAGES for block in blocks(page)]
    assert not [place for place, block in found if block.language not in LANGUAGES]
    assert not [place for place, block in found if block.not_run is not None and len(block.not_run) < 10]
    not_run = [f"{place}: {block.not_run}" for place, block in found if block.not_run is not None]
    runnable = [place for place, block in found if block.language in {"python", "console", "bash"}]
    assert len(not_run) <= len(runnable) / 4, "\n".join(not_run)


WRONG = {
    "a python block that raises": ("```python\nx = 1\n```\n\n```python\nassert x == 2, 'x is one'\n```\n", "x is one"),
    "a command that fails": ("```console\n$ echo before\nbefore\n$ false\n$ echo after\n```\n", "exit code"),
    "a program that fails in bash": (
        "```bash\npython -c 'import nothing_like_it'\necho after\n```\n",
        "nothing_like_it",
    ),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_a_page_whose_example_fails_is_noticed(text: str, says: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(pytest.fail.Exception, match=says) as caught:
        run(page, tmp_path)
    assert str(page) in str(caught.value)
    assert "after" not in str(caught.value).splitlines()


def test_what_is_not_to_be_run_is_not(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: it would fail here -->\n```python\n1 / 0\n```\n\n```text\n$ false\n```\n")
    run(page, tmp_path)
    assert [block.not_run for block in blocks(page)] == ["it would fail here", None]
