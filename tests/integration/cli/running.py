"""The real command in a process of its own, and a small database that the tests can break and mend.

The database is a folder: `FileBackend` writes a record as a line of a file, and obeys files beside it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

MODULE = '''
import json, os, time
from pathlib import Path
from urllib.parse import urlsplit
from tallystick.backends.base import WriteResult
from tallystick.errors import Unavailable

class FileBackend:
    """files:///folder; obeys `down` (Unavailable), `slow` (seconds a write takes) and `refuse` (a name to reject)."""
    inline = False
    def __init__(self, folder): self.folder = Path(folder)
    @classmethod
    def from_url(cls, url): return cls(urlsplit(url).path)
    @property
    def address(self): return f"files://{self.folder}"
    def open(self): pass
    def close(self): pass
    def query(self, query): return []
    def _says(self, name):
        try: return (self.folder / name).read_text()
        except FileNotFoundError: return ""
    def write(self, batch):
        if self._says("down"):
            (self.folder / "asked").touch()
            raise Unavailable("the database is down")
        if seconds := self._says("slow"):
            (self.folder / "writing").touch()
            time.sleep(float(seconds))
        refused = self._says("refuse")
        rejected = {i: "refused here" for i, r in enumerate(batch.records) if r.name == refused}
        with open(self.folder / "rows", "a") as rows:
            for i, r in enumerate(batch.records):
                if i not in rejected: rows.write(json.dumps([r.id, r.name, r.value]) + chr(10))
        return WriteResult(rejected)
'''


class Database:
    """The folder behind `files://`. What is written into its files, the backend obeys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    @property
    def url(self) -> str:
        return f"files://{self.folder}"

    def says(self, name: str, text: str = "") -> None:
        path = self.folder / name
        path.write_text(text) if text else path.unlink(missing_ok=True)

    def rows(self) -> list[Any]:
        path = self.folder / "rows"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def install_files_backend(folder: Path) -> str:
    """A distribution that registers `files://` by an entry point, as a third party's would; its folder."""
    info = folder / "filesbackend-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "filesbackend.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: filesbackend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tallystick.backends]\nfiles = filesbackend:FileBackend\n")
    return str(folder)


def tallystick(*words: object, ok: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run it to its end. With `ok`, exit code 0 is a must."""
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    if ok:
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def as_json(*words: object, ok: bool = True) -> Any:
    return json.loads(tallystick(*words, "--json", ok=ok).stdout)


class Running:
    """It runs until it is told to stop. What it says on standard error goes to a file, to be waited for."""

    def __init__(self, folder: Path, *words: object, **options: Any) -> None:
        self.said = folder / f"said-{time.monotonic_ns()}"
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tallystick", *map(str, words)],
                stdout=subprocess.PIPE,
                stderr=said,
                stdin=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                **options,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def waits_to_say(self, text: str) -> None:
        eventually(lambda: text in self.said.read_text(), f"{text!r} in\n{self.said.read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def eventually(holds: Callable[[], bool], what: str, timeout_seconds: float = 20.0) -> None:
    """Look again and again until it holds."""
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)
