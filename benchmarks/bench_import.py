"""`import tallystick` against `import prometheus_client`, each in a fresh interpreter that imports nothing else before.

The interpreter's own start is not counted. Compiled files are kept in a folder of this run and are made in the first,
uncounted round: how long a compiler takes says nothing about a library.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import Figure, Options, compare, main, take_turns, temporary_folder

PROGRAM = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"


def importing(module: str, compiled: Path) -> Callable[[], float]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONPYCACHEPREFIX"] = str(compiled)
    command = [sys.executable, "-c", PROGRAM.format(module)]

    def job() -> float:
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    return job


def measure(options: Options) -> Iterator[Figure]:
    with temporary_folder() as compiled:
        jobs = {module: importing(module, compiled) for module in ("tallystick", "prometheus_client")}
        took = take_turns(options.rounds, jobs, turns=options.scaled(3))
        yield compare(
            "import tallystick / import prometheus_client", took["tallystick"], took["prometheus_client"], 0.80
        )


if __name__ == "__main__":
    main("import", measure)
