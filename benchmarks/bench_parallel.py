"""Several writers at once: four threads of one process against one, and two processes against one.

Threads share one interpreter and one segment; a call must not become dearer because others record, too. Processes share
the folder and nothing else, so two of them should write nearly twice as much, as far as the machine has two cores to
give: how a loop that touches nothing scales here is printed beside it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from contestants import calls, spooling, stored
from harness import Figure, Options, compare, main, take_turns, temporary_folder

from tallystick import Metrics

CALLS = 60_000
THREADS = 4


def by_threads(metrics: Metrics, threads: int, count: int) -> Callable[[], float]:
    """A job: `count` calls, shared out between so many threads; wall seconds a call."""
    pairs = calls(count // threads)

    def record(ready: threading.Barrier) -> None:
        ready.wait()
        for plan, region in pairs:
            metrics.increment("user.signup", tags={"plan": plan, "region": region})

    def job() -> float:
        ready = threading.Barrier(threads + 1)
        workers = [threading.Thread(target=record, args=(ready,)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        began = perf_counter()
        ready.wait()
        for worker in workers:
            worker.join()
        return (perf_counter() - began) / (len(pairs) * threads)

    return job


WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from contestants import calls, spooling
pairs = calls({count})
with spooling(Path({home!r})) as metrics:
    for line in sys.stdin:
        began = time.perf_counter()
        if line == "record\\n":
            for plan, region in pairs:
                metrics.increment("user.signup", tags={{"plan": plan, "region": region}})
        else:
            for plan, region in pairs * 10:
                {{"plan": plan, "region": region}}
        print(time.perf_counter() - began, flush=True)
"""


class Writers:
    """Processes that work when they are told to, all at once."""

    def __init__(self, home: Path, processes: int, count: int) -> None:
        here = str(Path(__file__).parent)
        program = WRITER.format(here=here, count=count, home=str(home))
        self.count = count
        self.processes = [
            subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(processes)
        ]

    def job(self, work: str, processes: int) -> Callable[[], float]:
        """A job: so many of the processes work at the same time; calls a second of all together."""

        def job() -> float:
            working = self.processes[:processes]
            for process in working:
                assert process.stdin is not None
                process.stdin.write(f"{work}\n")
                process.stdin.flush()
            took = [float(process.stdout.readline()) for process in working if process.stdout is not None]
            return sum(self.count / seconds for seconds in took)

        return job

    def close(self) -> None:
        for process in self.processes:
            process.communicate()
            if process.returncode:
                raise SystemExit("a writing process failed")


def threads_figure(options: Options) -> Figure:
    count = options.scaled(CALLS)
    with temporary_folder() as folder:
        with spooling(folder) as metrics:
            jobs = {"one": by_threads(metrics, 1, count), "four": by_threads(metrics, THREADS, count)}
            took = take_turns(options.rounds, jobs)
        found, called = stored(folder), 2 * (count - count % THREADS) * (options.rounds + 1)
    if found != called:
        raise SystemExit(f"{called} records were recorded and {found} are in the spool")
    return compare("increment in 4 threads / in 1, per call", took["four"], took["one"], 1.15)


def processes_figure(options: Options) -> Figure:
    count = options.scaled(CALLS)
    with temporary_folder() as folder:
        writers = Writers(folder, 2, count)
        jobs = {
            "one": writers.job("record", 1),
            "two": writers.job("record", 2),
            "one idle": writers.job("loop", 1),
            "two idle": writers.job("loop", 2),
        }
        rates = take_turns(options.rounds, jobs)
        writers.close()
        found, called = stored(folder), 3 * count * (options.rounds + 1)
    if found != called:
        raise SystemExit(f"{called} records were recorded and {found} are in the spool")
    machine = compare("", rates["two idle"], rates["one idle"], 0).value
    note = f"a loop that records nothing scales {machine:.2f} x on this machine"
    return compare(
        "records a second of 2 processes / of 1", rates["two"], rates["one"], 1.6, better="higher", note=note
    )


def measure(options: Options) -> Iterator[Figure]:
    yield threads_figure(options)
    yield processes_figure(options)


if __name__ == "__main__":
    main("several writers", measure)
