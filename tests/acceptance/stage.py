"""Real processes for the tests of this folder, and what became of the records.

`Stage.start("record", …)` runs `programs/record.py` in a session of its own. A program says where it stands in lines on
its standard output, and the test waits for these; every wait is bounded. What still runs when the test ends is killed.
"""

from __future__ import annotations

import math
import mmap
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tallystick import Query, Record
from tallystick.backends.sqlite import SqliteBackend
from tallystick.spool.account import Account, account
from tallystick.spool.dead import DeadLetter, DeadLetters
from tallystick.spool.folder import Folder

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
"""Longer than anything here takes on a busy machine: who is not done by then hangs."""
THOROUGH_PATIENCE_SECONDS = 900.0
"""The same for the full counts of --thorough."""


class Running:
    """A program that runs. Its standard error goes to a file, which a failed wait shows."""

    def __init__(self, command: list[str], errors: Path, folder: Path, patience_seconds: float) -> None:
        self.name = " ".join(command[1:])
        self._patience_seconds = patience_seconds
        self._errors = errors
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.ended_at = math.inf
        """When it had ended, on the clock of `time.monotonic()`, which all processes of a machine share."""
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
        with errors.open("wb") as sink:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                bufsize=1,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        self.pid = self.process.pid
        self._ended = os.pidfd_open(self.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self.ended_at = time.monotonic()
        self._lines.put(None)

    def line(self) -> str:
        """The next line that the program says."""
        try:
            line = self._lines.get(timeout=self._patience_seconds)
        except queue.Empty:
            raise AssertionError(f"{self.name} says nothing for {self._patience_seconds} s\n{self.errors}") from None
        assert line is not None, f"{self.name} ended and did not say what was waited for\n{self.errors}"
        return line

    def expect(self, beginning: str) -> str:
        """The rest of the next line, which begins so."""
        line = self.line()
        assert line.startswith(beginning), f"{self.name} says {line!r} instead of {beginning!r}\n{self.errors}"
        return line.removeprefix(beginning).strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.wait()

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Its exit code (a negative one is the signal that ended it), as soon as it has ended."""
        timeout_seconds = self._patience_seconds if timeout_seconds is None else timeout_seconds
        ready, _, _ = select.select([self._ended], [], [], timeout_seconds)
        if not ready:
            self.process.send_signal(signal.SIGABRT)  # makes it say where each of its threads is
            self.process.wait()
            raise AssertionError(f"{self.name} does not end within {timeout_seconds} s\n{self.errors}")
        self._reader.join(1.0)  # longer only when a child of it lives on with the same output
        return self.process.wait()

    def wait_until_stopped(self) -> None:
        """Until a SIGSTOP has stopped it."""
        stopped = until(lambda: os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT))
        assert stopped, f"{self.name} does not stop\n{self.errors}"
        found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT)
        assert found is not None
        assert found.si_code == os.CLD_STOPPED, f"{self.name} ended instead of stopping\n{self.errors}"

    def is_left_in_its_session(self) -> bool:
        """Whether a process that it started still runs."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def ends_well(self) -> None:
        code = self.wait()
        assert code == 0, f"{self.name} ended with {code}\n{self.errors}"

    @property
    def errors(self) -> str:
        return self._errors.read_text(errors="replace")[-4000:]

    def clean_up(self) -> None:
        """End it and whatever it has started (its session is its process group)."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self._ended)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass


class Stage:
    """A home, the programs that work in it, and what they left there."""

    def __init__(self, home: Path, folder: Path, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.home = home
        self._folder = folder
        self._patience_seconds = patience_seconds
        self._running: list[Running] = []

    def start(self, program: str, *arguments: object) -> Running:
        command = [
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            f"tests.acceptance.programs.{program}",
            *map(str, arguments),
        ]
        return self.run_command(command)

    def run_command(self, command: list[str]) -> Running:
        errors = self._folder / f"{len(self._running)}.stderr"
        self._running.append(Running(command, errors, self._folder, self._patience_seconds))
        return self._running[-1]

    def drain(self, *arguments: object) -> None:
        """An agent that works as it should delivers all there is."""
        self.start("agent", *arguments).ends_well()

    def folder(self, pipeline: str = "default") -> Folder:
        return Folder(self.home, pipeline)

    def records(self, name: str = "*") -> list[Record]:
        """What is in the pipeline's SQLite file, as `tallystick export` would give it."""
        return list(SqliteBackend(self.folder().database).records(Query(name)))

    def dead(self, pipeline: str = "default") -> list[DeadLetter]:
        return list(DeadLetters(self.folder(pipeline)).state().letters.values())

    def books(self, pipeline: str = "default") -> Account:
        """The books, which always balance."""
        books = account(self.folder(pipeline))
        assert not books.imbalance(), f"{books.imbalance()}: {books}"
        return books

    def segments(self, pipeline: str = "default") -> list[str]:
        return self.folder(pipeline).segment_ids()

    def clean_up(self) -> None:
        for running in self._running:
            running.clean_up()


class Acknowledged:
    """For each thread (or process) of a program, how many of its calls have returned.

    A mapped file: what a program wrote to it before it was killed is there. Cells are written whole, in one move.
    """

    def __init__(self, path: Path, cells: int) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * cells))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * cells)
        self.cells = memoryview(self._map).cast("q")

    def close(self) -> None:
        self.cells.release()
        self._map.close()


def read_acknowledged(path: Path) -> list[int]:
    return memoryview(path.read_bytes()).cast("q").tolist()


def until(found: Callable[[], object], timeout_seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait for what can only be looked for (a file's content, another process's lock); False when it never comes."""
    deadline = time.monotonic() + timeout_seconds
    while not found():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def number_of(record: Record) -> int:
    """The number that a program put into a record (see programs/calls.py), whatever its kind."""
    value = record.value
    if isinstance(value, dict):
        value = value["number"]
    assert isinstance(value, int | float | str)
    return int(value)


def numbers_by(records: list[Record], *tags: str) -> dict[tuple[str, ...], Counter[int]]:
    """How often each number is there, by these tags."""
    found: dict[tuple[str, ...], Counter[int]] = {}
    for record in records:
        key = tuple(record.tags[tag] for tag in tags)
        found.setdefault(key, Counter())[number_of(record)] += 1
    return found


def assert_complete(found: Counter[int], acknowledged: int, who: object = "") -> None:
    """All numbers from 1 to the last acknowledged once; of the call that was under way, nothing or one."""
    twice = [number for number, count in found.items() if count > 1]
    assert not twice, f"{who}: {len(twice)} stored more than once, as {twice[:5]}"
    lost = set(range(1, acknowledged + 1)) - found.keys()
    assert not lost, f"{who}: {len(lost)} of {acknowledged} lost, as {sorted(lost)[:5]}"
    beyond = found.keys() - set(range(1, acknowledged + 2))
    assert not beyond, f"{who}: {sorted(beyond)[:5]} were never recorded, {acknowledged} were acknowledged"
