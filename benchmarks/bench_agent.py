"""What an application feels of an agent that is busy without a pause: the 99th percentile of its own work.

Two kinds of work, each without an agent, with one as a process and with one as a thread of the application:

- A *request*, on which the goals are set: it reads and writes some JSON, records three metrics and waits a millisecond
  for something else, as web applications do for their database. All of it is timed, waiting included: to run again
  afterwards a thread needs the GIL, which the delivering thread may hold.
- A *pure loop* of `increment`, call by call, which never lets go of the GIL of its own accord.

The three applications take turns of a tenth of a second; whoever has no turn is stopped (SIGSTOP), its agent too. The
agents deliver a backlog into SQLite, which is filled up between the rounds and must not be empty at the end of any.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from backlog import RECORD_BYTES, environment, fill, pending_bytes, start_agent, wait_for_delivery
from harness import Figure, Options, compare, main, temporary_folder

ROUNDS = 9
TURNS = 15
BACKLOG = 1_200_000
"""More than an agent delivers in a round."""

WORKS = (("request", "request", 40), ("loop", "call in a pure loop", 50_000))
"""The word for the application, what it stands for, and how often the application does it in a turn."""

COLD = 3
"""So many of a turn's first times are left out: who was stopped has cold caches."""


class Stage:
    """One application with its home and its agent, if any; all of them are stopped but for their turns."""

    def __init__(self, kind: str, home: Path) -> None:
        home.mkdir()
        self.kind = kind
        self.home = home
        self.fill_up()
        began = time.time()
        command = [sys.executable, str(Path(__file__).with_name("application.py")), str(home)]
        command.append("thread" if kind == "thread" else "off")
        self.application = subprocess.Popen(
            command, env=environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.processes = [self.application]
        self.ask("loop", 10)
        if kind == "process":
            self.processes.append(start_agent(home))
        if kind != "none":
            wait_for_delivery(home, began)
        self.signal(signal.SIGSTOP)

    def signal(self, number: signal.Signals) -> None:
        for process in self.processes:
            process.send_signal(number)

    def fill_up(self) -> None:
        fill(self.home, max(20, BACKLOG - pending_bytes(self.home) // RECORD_BYTES))

    def ask(self, word: str, count: int) -> list[int]:
        assert self.application.stdin is not None
        assert self.application.stdout is not None
        self.application.stdin.write(f"{word} {count}\n")
        self.application.stdin.flush()
        took: list[int] = json.loads(self.application.stdout.readline())
        return took

    def turn(self, word: str, count: int) -> list[int]:
        self.signal(signal.SIGCONT)
        took = self.ask(word, count)
        self.signal(signal.SIGSTOP)
        return took[COLD:]

    def check(self) -> None:
        if self.kind != "none" and pending_bytes(self.home) < 3 * 4_194_304:
            raise SystemExit(f"the agent ({self.kind}) ran out of work before the round ended: fill in more")

    def close(self) -> None:
        self.signal(signal.SIGCONT)
        for process in self.processes[1:]:
            process.terminate()
            process.wait()
        self.application.communicate()
        if self.application.returncode:
            raise SystemExit(f"the application ({self.kind}) failed")


def measure(options: Options) -> Iterator[Figure]:
    with temporary_folder() as folder, ExitStack() as closing:
        stages = []
        for kind in ("none", "process", "thread"):
            stage = Stage(kind, folder / kind)
            closing.callback(stage.close)
            stages.append(stage)
        for word, name, count in WORKS:
            p99 = rounds(stages, word, count, min(options.rounds, ROUNDS), options.scaled(TURNS))
            yield compare(f"p99 of a {name}, agent as a process / none", p99["process"], p99["none"], 1.3)
            yield compare(f"p99 of a {name}, agent as a thread / none", p99["thread"], p99["none"], 3.0)


def rounds(stages: list[Stage], word: str, count: int, number: int, turns: int) -> dict[str, list[float]]:
    """The p99 of each round, in seconds, by the stages' kinds."""
    found: dict[str, list[float]] = {stage.kind: [] for stage in stages}
    for _ in range(number):
        for stage in stages:
            if stage.kind != "none":
                stage.fill_up()
        took: dict[str, list[int]] = {stage.kind: [] for stage in stages}
        for turn in range(turns):
            shift = turn % len(stages)
            for stage in stages[shift:] + stages[:shift]:
                took[stage.kind] += stage.turn(word, count)
        for stage in stages:
            stage.check()
            found[stage.kind].append(statistics.quantiles(took[stage.kind], n=100)[98] / 1e9)
    return found


if __name__ == "__main__":
    main("an application beside a busy agent", measure)
