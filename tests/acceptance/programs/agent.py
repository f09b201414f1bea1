"""An agent as a process of its own, which delivers all there is, or for ever. It may be told to be struck down at some
point of its work, or get a database with a temper.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from tests.acceptance.programs.databases import OwnDatabase, PickySqlite
from tests.acceptance.programs.points import POINTS, strike_at

from tallystick.backends.base import Backend
from tallystick.pipelines.agents import spool_agent
from tallystick.spool import source
from tallystick.spool.folder import Folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-records", type=int, default=5000)
    parser.add_argument("--strike", choices=[*POINTS], metavar="POINT")
    parser.add_argument("--at", type=int, default=1, help="the so many-th time that it comes to the point")
    parser.add_argument("--signal", type=lambda name: signal.Signals[name], default=signal.SIGKILL)
    parser.add_argument("--pipeline", default="default")
    parser.add_argument("--own-database", type=Path, help="deliver to an OwnDatabase there instead of to SQLite")
    parser.add_argument("--deadly", nargs="*", default=())
    parser.add_argument("--death", default="kill")
    parser.add_argument("--for-ever", action="store_true")
    options = parser.parse_args()
    if options.strike:
        # Else so short a run removes segments only when all is delivered and saved.
        source.MANY = 1  # type: ignore[misc]
        strike_at(options.strike, options.at, options.signal)
    folder = Folder(os.environ["TALLYSTICK_HOME"], options.pipeline)
    backend: Backend = PickySqlite(folder.database)
    if options.own_database:
        backend = OwnDatabase(options.own_database, deadly=tuple(options.deadly), death=options.death)
    agent = spool_agent(folder, backend, batch_records=options.batch_records)
    print("delivering", flush=True)
    sys.exit(not agent.run("stopped" if options.for_ever else "empty"))


if __name__ == "__main__":
    main()
