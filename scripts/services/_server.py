"""The life of one server on 127.0.0.1: start, stop, kill, status, url.

Each script of this folder makes a `Server` that knows how to install its program, start it and ask whether it answers,
and ends with `main()`. What they have in common:

- A server is its name and its port: another port is another server, with data of its own. Starting twice, from however
  many processes at once, is starting once.
- `$TALLYSTICK_SERVICES/servers/NAME-PORT` holds a server's data, configuration, log and what is known of its processes.
- Data is new at each start; with TALLYSTICK_SERVICES_KEEP=1 the last run's data is kept, also that of a killed one.
- stdout holds the answer and nothing else; what is being done goes to stderr.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from _install import Failure, cache, say, tail
from _processes import Session

USAGE = "usage: {} start|stop|kill|status|url"
STOP_SECONDS = 15.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever http_proxy says


class Server:
    """`TALLYSTICK_<NAME>_PORT`, `_VERSION` and `_ARGS` (more arguments for the program) change what a script names."""

    url_pattern: ClassVar[str] = "http://127.0.0.1:{port}"
    stop_signal: ClassVar[int] = signal.SIGTERM
    wait_seconds: ClassVar[float] = 60.0
    more_ports: ClassVar[tuple[int, ...]] = ()  # ports it takes beside its own, as distances from it

    def __init__(self, name: str, port: int, version: str = "") -> None:
        self.name = name
        self.port = int(self.setting("PORT", str(port)))
        self.version = self.setting("VERSION", version)
        self.url = self.url_pattern.format(port=self.port)
        servers = Path(os.environ.get("TALLYSTICK_SERVICES_RUN") or cache() / "servers")
        self.folder = servers / f"{name}-{self.port}"
        self.data = self.folder / "-".join(["data", *([self.version] if self.version else [])])
        self.log = self.folder / "log"
        self.session = Session(self.folder / "session.json")

    def setting(self, key: str, default: str = "") -> str:
        return os.environ.get(f"TALLYSTICK_{self.name.upper().replace('-', '_')}_{key}") or default

    @property
    def arguments(self) -> list[str]:
        return shlex.split(self.setting("ARGS"))

    # --- what a server must say of itself -----------------------------------------------------------------------------

    def install(self) -> None:
        """Get what is missing; quick when nothing is."""

    def configure(self) -> None:
        """Write configuration into `folder`; `data` exists, and is empty unless it was kept."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def ready(self) -> bool:
        """Whether it really answers."""
        return self.answers(self.url)

    def first_use(self) -> None:
        """Set up a server that answers, where its kind wants that."""

    # --- what people do with it ---------------------------------------------------------------------------------------

    def main(self) -> None:
        actions = {name: getattr(self, name) for name in ("start", "stop", "kill", "status")}
        if len(sys.argv) != 2 or sys.argv[1] not in {*actions, "url"}:
            sys.exit(USAGE.format(self.name))
        if sys.argv[1] == "url":
            print(self.url)
            return
        try:
            actions[sys.argv[1]]()
        except (Failure, OSError) as failure:
            sys.exit(f"{self.name}: {failure}")

    def status(self) -> None:
        if not self.session.members():
            print("stopped")
            sys.exit(3)
        answer = f"running {self.url}" if self.ready() else f"does not answer {self.url}"
        print(" ".join(filter(None, [answer, self.running_version()])))
        if not self.ready():
            sys.exit(3)

    def stop(self) -> None:
        with self.locked():
            self.session.stop(self.stop_signal, STOP_SECONDS)

    def kill(self) -> None:
        """kill -9 of all its processes, for crash tests."""
        with self.locked():
            self.session.kill()

    def start(self) -> None:
        with self.locked():
            if not (self.session.members() and self.ready()):
                self.start_anew()
            elif self.running_version() != self.version:
                running = self.running_version()
                raise Failure(f"{running} runs on port {self.port}: stop it first, or choose another port")
        print(self.url, flush=True)

    # --- how it is done -----------------------------------------------------------------------------------------------

    def start_anew(self) -> None:
        self.session.stop(self.stop_signal, STOP_SECONDS)
        self.install()
        for port in (self.port, *(self.port + distance for distance in self.more_ports)):
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError as error:
                raise Failure(f"port {port} of 127.0.0.1 cannot be used: {error.strerror}") from None
        if os.environ.get("TALLYSTICK_SERVICES_KEEP") != "1":
            shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self.configure()
        began = time.monotonic()
        limit = float(os.environ.get("TALLYSTICK_SERVICES_WAIT") or self.wait_seconds)
        leader = self.session.start(self.command(), self.log, env=self.environment(), cwd=self.folder)
        while not self.ready():
            seconds = time.monotonic() - began
            leader.poll()  # so that a dead leader does not stay a zombie
            if not self.session.members() or seconds > limit:
                self.session.kill()
                raise Failure(f"no answer on port {self.port} after {seconds:.0f} s; {self.log}:\n{tail(self.log)}")
            time.sleep(0.1)
        self.first_use()
        (self.folder / "version").write_text(self.version)
        say(f"{' '.join(filter(None, [self.name, self.version]))} started in {time.monotonic() - began:.1f} s")

    def running_version(self) -> str:
        try:
            return (self.folder / "version").read_text()
        except OSError:
            return ""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def answers(self, url: str, body: bytes | None = None, content_type: str = "application/json") -> bool:
        request = urllib.request.Request(url, body, {"Content-Type": content_type})
        try:
            with DIRECT.open(request, timeout=5):
                return True
        except OSError:
            return False

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True
