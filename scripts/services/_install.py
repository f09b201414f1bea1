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
import zipfile
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
    if os.geteuid() != 0 and not shutil.which("sudo"):
        raise Failure(f"as root, once: apt-get install --no-install-recommends {' '.join(missing)}")
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
    """One file from Maven Central, named `group:name:version`, and then `:zip` or `:zip:classifier`."""
    maven(f"{DEPENDENCY_PLUGIN}:get", f"-Dartifact={coordinates}", "-Dtransitive=false")
    group, name, version, *kind = coordinates.split(":")
    file = "-".join([name, version, *kind[1:]]) + f".{kind[0] if kind else 'jar'}"
    return cache() / "m2" / group.replace(".", "/") / name / version / file


def compile_java(home: Path, release: int, library: Path, source: Path, classes: Path) -> None:
    """With a compiler in a jar: a Java runtime that is found or fetched need not have one. `library` holds jars."""
    jars = ":".join(str(path) for path in sorted(library.glob("*.jar")))
    compiler = [str(home / "bin/java"), "-XX:+UseSerialGC", "-jar", str(artifact(ECJ))]
    run([*compiler, f"-{release}", "-nowarn", "-proc:none", "-cp", jars, "-d", str(classes), str(source)])


# Java runtimes (Eclipse Temurin JRE) that a product on Maven Central carries. They lack the modules of a JDK's tools.
CARRIER = "org.sonarsource.scanner.cli:sonar-scanner-cli"
NEWEST = 99
CARRIED = {21: "8.1.0.6389", 17: "7.3.0.5189"}


def java(low: int, high: int, *, whole: bool = False) -> Path:
    """The home of a Java with low <= major version <= high: the oldest on this machine, or Debian's, or a carried one.

    `whole`: not the last. TALLYSTICK_SERVICES_JAVA=fetch: the last even so, to try it where Java is installed.
    """
    carried = [major for major in CARRIED if low <= major <= high and not whole]
    if not carried or os.environ.get("TALLYSTICK_SERVICES_JAVA") != "fetch":
        if not installed_java(low, high):
            install_java(low, high)
        if home := installed_java(low, high):
            return home
    if not carried:
        wanted = f"{low} or newer" if high == NEWEST else f"{low} to {high}"
        raise Failure(f"needs a JDK of version {wanted} in $JAVA_HOME or /usr/lib/jvm, and there is none")
    return carried_java(carried[0], CARRIED[carried[0]])


def installed_java(low: int, high: int) -> Path | None:
    found = []
    for home in [Path(os.environ.get("JAVA_HOME") or "/nonexistent"), *sorted(Path("/usr/lib/jvm").glob("*"))]:
        release = home / "release"
        version = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.is_file() else None
        if version and low <= int(version[1]) <= high and os.access(home / "bin/java", os.X_OK):
            found.append((int(version[1]), home.resolve()))
    return min(found)[1] if found else None


def install_java(low: int, high: int) -> None:
    """Debian's first that fits, if it has one; its JRE packages have every module."""
    for package in (f"openjdk-{major}-jre-headless" for major in (17, 21, 25) if low <= major <= high):
        known = ask(["apt-cache", "policy", package]).stdout if shutil.which("apt-cache") else ""
        if re.search(r"Candidate: (?!\(none\))", known):
            debian(package)
            return


def carried_java(major: int, version: str) -> Path:
    home = cache() / "java" / str(major)
    with locked(f"java-{major}"):
        if not home.exists():
            say(f"fetching a Java {major} runtime")
            archive = artifact(
                f"{CARRIER}:{version}:zip:linux-{'aarch64' if os.uname().machine == 'aarch64' else 'x64'}"
            )
            part = home.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            unzip(archive, "[^/]+/jre/", part)
            shutil.rmtree(archive.parent)
            part.rename(home)
    return home


def unzip(archive: Path, top: str, target: Path) -> None:
    """Unpack what lies under a folder of a zip, named by a pattern. What is in bin is executable."""
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            match = re.match(f"{top}(.+)", entry.filename)
            if not match or entry.is_dir():
                continue
            path = target / match[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(entry) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            executable = entry.external_attr >> 16 & 0o100 or path.parent.name == "bin"
            path.chmod(0o755 if executable else 0o644)
