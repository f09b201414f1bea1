"""Real servers for tests: started when a test needs one, stopped when the run ends.

    pytestmark = pytest.mark.service("postgresql")     # started before the first test, outside of any test's time limit

    def test_something() -> None:
        url = service("postgresql")                    # what `scripts/services/postgresql url` prints

- A server that already runs is used and left running. One that this run started is stopped at its end, unless another
  run uses it by then or TALLYSTICK_SERVICES_LEAVE=1. The summary at the end names what was started.
- TALLYSTICK_TEST_<NAME>_URL names a server that somebody runs otherwise (`docker compose up`); nothing is started then.
- A server that cannot start skips the test and says which command shows why; with CI in the environment it fails it.
- Tests share a server and what is in it, also with other runs: give databases, indices and buckets names of your own.
- `service(name, own=True)` is a server of this process alone, empty, on a port of its own. `kill` (kill -9 of all its
  processes), `restart` (with its data) and `kill_and_restart` are for such servers only.

A pytest plugin, named by tests/conftest.py; it knows pytest-xdist's workers by the environment that they inherit.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts" / "services"
USERS = Path(tempfile.gettempdir()) / f"tallystick-services-{os.getuid()}"  # who uses a server holds a shared lock here
ENVIRONMENT = dict(os.environ)  # tests change theirs
# Half the time to start and less speed later, which tests need least.
ENVIRONMENT.setdefault("TALLYSTICK_SEARCH_OPTIONS", "-XX:TieredStopAtLevel=1")
RUN = "TALLYSTICK_SERVICES_RUN_NOTES"  # the folder of this run's notes; whoever made it ends the run

_config: pytest.Config | None = None
_known: dict[str, tuple[str, str]] = {}  # by name: URL and problem, one of them empty
_in_use: dict[str, IO[str]] = {}
_own: dict[str, dict[str, str]] = {}  # by name: the environment that makes a script speak of our own server


def service(name: str, *, own: bool = False) -> str:
    """The URL of a running server; `own` for one that may be killed."""
    if not (SCRIPTS / name).is_file():
        raise ValueError(f"no server {name!r} in scripts/services")
    if own:
        return _own_server(name)
    if name not in _known:
        _known[name] = _shared_server(name)
    url, problem = _known[name]
    return url or _unavailable(name, problem)


def kill(name: str) -> None:
    """kill -9 of every process of our own server of this name."""
    _call(name, "kill", _environment_of_own(name)).check_returncode()


def restart(name: str) -> None:
    """Start our own server again, with the data that it had."""
    _call(name, "start", {**_environment_of_own(name), "TALLYSTICK_SERVICES_KEEP": "1"}).check_returncode()


def kill_and_restart(name: str) -> None:
    kill(name)
    restart(name)


# --- starting ---------------------------------------------------------------------------------------------------------


def _call(name: str, action: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / name), action]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)


def _given(name: str) -> str:
    return ENVIRONMENT.get(f"TALLYSTICK_TEST_{name.upper().replace('-', '_')}_URL", "")


def _shared_server(name: str) -> tuple[str, str]:
    if given := _given(name):
        return given, ""
    USERS.mkdir(exist_ok=True)
    user = (USERS / name).open("w")  # kept open: closing it ends the use
    fcntl.flock(user, fcntl.LOCK_SH)
    _in_use[name] = user
    notes = Path(os.environ[RUN])
    with open(notes / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the workers of this run, one starts it
        running = _call(name, "status", ENVIRONMENT).returncode == 0
        if not running:
            _say(f"starting {name} (scripts/services/{name} start)")
        began = time.monotonic()
        done = _call(name, "start", ENVIRONMENT)
        if done.returncode:
            return "", done.stderr.strip()
        url = done.stdout.split()[-1]
        if not running:
            note = {"url": url, "seconds": round(time.monotonic() - began, 1)}
            (notes / f"{name}.json").write_text(json.dumps(note))
    return url, ""


def _own_server(name: str) -> str:
    if name not in _own:
        folder = tempfile.mkdtemp(prefix=f"tallystick-{name}-")
        port = {f"TALLYSTICK_{name.upper().replace('-', '_')}_PORT": str(_free_port())}
        _own[name] = {**ENVIRONMENT, "TALLYSTICK_SERVICES_RUN": folder, **port}
        done = _call(name, "start", _own[name])
        if done.returncode:
            _end_own(name)
            _unavailable(name, done.stderr.strip())
    return _call(name, "url", _own[name]).stdout.strip()


def _environment_of_own(name: str) -> dict[str, str]:
    if name not in _own:
        raise ValueError(f"only a server of one's own is killed: call service({name!r}, own=True) first")
    return _own[name]


def _end_own(name: str) -> None:
    environment = _own.pop(name)
    _call(name, "kill", environment)
    shutil.rmtree(environment["TALLYSTICK_SERVICES_RUN"], ignore_errors=True)


def _free_port() -> int:
    """Below the ports that the kernel hands out; some servers take the one 2 or 1000 above theirs, too.

    It is bound only some time later: the workers of a run draw from ports of their own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = random.randrange(20000 + worker % 2, 31000, 2)
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for distance in (0, 2, 1000):
                held.enter_context(socket.create_server(("127.0.0.1", port + distance)))
            return port


def _unavailable(name: str, problem: str) -> str:
    reason = f"{name} cannot start; try: scripts/services/{name} start\n{problem}"
    if ENVIRONMENT.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _say(text: str) -> None:
    reporter = _config and _config.pluginmanager.get_plugin("terminalreporter")
    capture = _config and _config.pluginmanager.get_plugin("capturemanager")
    if reporter and capture:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(text)


# --- pytest's hooks ---------------------------------------------------------------------------------------------------


def _wanted(items: Iterable[pytest.Item]) -> Iterator[str]:
    for item in items:
        for marker in item.iter_markers("service"):
            yield from marker.args


def pytest_configure(config: pytest.Config) -> None:
    global _config
    _config = config
    if RUN not in os.environ:
        os.environ[RUN] = tempfile.mkdtemp(prefix="tallystick-run-")
        config.stash[_ends_the_run] = True


def pytest_report_header() -> str:
    given = [name for name in sorted(path.name for path in SCRIPTS.iterdir()) if _given(name)]
    return "servers: by scripts/services, as tests need them" + "".join(f"; {name}: yours" for name in given)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The servers of the selected tests, two beside each other, before the first test's clock runs."""
    config = session.config
    if config.option.collectonly or (
        config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ
    ):
        return
    names = [name for name in dict.fromkeys(_wanted(session.items)) if name not in _known]
    with ThreadPoolExecutor(2) as pool:
        _known.update(zip(names, pool.map(_shared_server, names), strict=True))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in _wanted([item]):
        service(name)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    for name in list(_own):
        _end_own(name)
    if session.config.stash.get(_ends_the_run, False):
        _end_the_run(session.config)
    while _in_use:  # also of servers that ran before, which nobody stops
        _in_use.popitem()[1].close()


def _end_the_run(config: pytest.Config) -> None:
    notes = Path(os.environ.pop(RUN))
    for path in sorted(notes.glob("*.json")):
        note = json.loads(path.read_text())
        began = f"{path.stem} started in {note['seconds']} s ({note['url']})"
        config.stash.setdefault(_summary, []).append(f"{began}, {_let_go(path.stem)}")
    shutil.rmtree(notes, ignore_errors=True)


def _let_go(name: str) -> str:
    if ENVIRONMENT.get("TALLYSTICK_SERVICES_LEAVE") == "1":
        return "left running"
    with _in_use.get(name) or (USERS / name).open("w") as user:
        try:
            fcntl.flock(user, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "left running: another run uses it"
        return "stopped" if _call(name, "stop", ENVIRONMENT).returncode == 0 else "which could not be stopped"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(_summary, [])
    if lines:
        terminalreporter.section("servers", sep="-")
        for line in lines:
            terminalreporter.write_line(line)


_ends_the_run = pytest.StashKey[bool]()
_summary = pytest.StashKey[list[str]]()
