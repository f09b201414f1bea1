"""`python -m tallystick.compat.djelme -- COMMAND …`: a command for which `import elasticsearch_metrics` means this.

The command is a Python file (`manage.py check`), a script on the path (`pytest`), or `-m module`.
"""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

from tallystick.compat.djelme.aliases import alias


def main(arguments: list[str]) -> None:
    words = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not words:
        sys.exit("usage: python -m tallystick.compat.djelme -- COMMAND [ARGUMENT]...")
    if "" not in sys.path:
        sys.path.insert(0, "")
    alias()
    if words[0] == "-m" and len(words) > 1:
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    known = Path(words[0]).is_file()
    script = words[0] if known else shutil.which(words[0]) or str(Path(sys.executable).parent / words[0])
    if not Path(script).is_file():
        sys.exit(f"{words[0]}: no such command")
    sys.argv = [script, *words[1:]]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
