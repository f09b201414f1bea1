"""`python -m tallystick.compat.kaneda -- COMMAND …`: run a command for which `import kaneda` means this package.

The command is a script on the path (`celery`, `rq`, `zmqworker`, `pytest`), a Python file, or `-m module`. `rq worker`
reads jobs by a reader that takes plain values alone, see `tasks/rq.py`.
"""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

from tallystick.compat.kaneda.aliases import alias


def main(arguments: list[str]) -> None:
    words = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not words:
        sys.exit("usage: python -m tallystick.compat.kaneda -- COMMAND [ARGUMENT]...")
    if "" not in sys.path:
        sys.path.insert(0, "")
    alias()
    if words[0] == "-m" and len(words) > 1:
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    if Path(words[0]).name in ("rq", "rqworker"):
        words = _with_reader(words)
    script = (
        words[0] if Path(words[0]).is_file() else shutil.which(words[0]) or str(Path(sys.executable).parent / words[0])
    )
    if not Path(script).is_file():
        sys.exit(f"{words[0]}: no such command")
    sys.argv = [script, *words[1:]]
    runpy.run_path(script, run_name="__main__")


def _with_reader(words: list[str]) -> list[str]:
    """`rqworker QUEUE` as `rq worker QUEUE`, which reads with our serializer. Django's jobs without a queue's name lie
    in the queue `None`, so who works on `kaneda` works on that one, too."""
    if Path(words[0]).name == "rqworker":
        words = ["rq", "worker", *(words[1:] or ["kaneda"])]
    if words[1:2] == ["worker"] and "kaneda" in words and "None" not in words:
        words = [*words, "None"]
    if words[1:2] == ["worker"] and not {"-S", "--serializer"} & {*words}:
        return [*words[:2], "--serializer", "tallystick.compat.kaneda.plain_jobs.PlainSerializer", *words[2:]]
    return words


if __name__ == "__main__":
    main(sys.argv[1:])
