"""`make bench`: every benchmark script in turn, and a table of all figures at the end.

    python benchmarks                   all of them
    python benchmarks calls import      these (bench_calls.py, bench_import.py)

The exit code tells whether every script could be run, not whether every goal was reached.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import Figure

HERE = Path(__file__).parent


def run(script: Path, quick: bool) -> dict[str, Any] | None:
    """What the script found, or None when it failed; its complaints go to standard error."""
    command = [sys.executable, str(script), "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("topics", nargs="*", help="the scripts' names without bench_ and .py; default: all")
    parser.add_argument("--json", action="store_true", help="one JSON list with what each script found")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not a measurement")
    given = parser.parse_args()
    scripts = [HERE / f"bench_{topic}.py" for topic in given.topics] or sorted(HERE.glob("bench_*.py"))
    found, failed = [], []
    for script in scripts:
        print(f"running {script.name} …", file=sys.stderr, flush=True)
        result = run(script, given.quick)
        if result is None:
            failed.append(script.name)
        else:
            found.append(result)
    if given.json:
        print(json.dumps(found))
    else:
        show(found)
    for name in failed:
        print(f"{name} failed, its figures are missing", file=sys.stderr)
    return 1 if failed else 0


def show(found: list[dict[str, Any]]) -> None:
    figures = []
    for result in found:
        print(f"\n# {result['topic']}; Python {result['python']}{', quick' if result['quick'] else ''}")
        for fields in result["figures"]:
            fields.pop("reached")  # it follows from the others
            figures.append(Figure(**fields))
            print(figures[-1].line())
    missed = [figure.name for figure in figures if not figure.reached]
    print(f"\n{len(figures) - len(missed)} of {len(figures)} goals reached")
    for name in missed:
        print(f"missed: {name}")


if __name__ == "__main__":
    sys.exit(main())
