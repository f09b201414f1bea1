"""A real search server, OpenSearch or Elasticsearch: one node, no TLS, no login; it takes the port 1000 above too.

The vendors' archives are not on Maven Central. What is there: the bare server as a zip made for integration tests,
server modules of some versions as plain jars, and products that carry a whole server. A `Recipe` says what to join.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from _install import DEPENDENCY_PLUGIN, Failure, artifact, cache, java, locked, maven, say, unzip
from _processes import without_root
from _server import DIRECT, Server

POM = "<project><modelVersion>4.0.0</modelVersion>{}</project>"
COORDINATES = "<groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>"


@dataclass(frozen=True)
class Module:
    """A server module that the bare zip lacks: a jar with its dependencies, and the server's descriptor of it."""

    artifact: str
    plugin_class: str
    extends: str = ""
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    java: tuple[int, int]
    whole_java: bool = False  # with the modules of a JDK's tools, which a JRE may lack
    bundle: str = ""  # group:artifact:version of a product's zip with the server inside, instead of the bare server
    without: tuple[str, ...] = ()  # modules of the bundle that call their maker's servers
    modules: dict[str, Module] = field(default_factory=dict)


class SearchServer(Server):
    wait_seconds = 300.0
    more_ports = (1000,)
    kind: ClassVar[str]
    group: ClassVar[str]
    prefix: ClassVar[str]  # of its environment variables
    recipes: ClassVar[dict[str, Recipe]]

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    @property
    def recipe(self) -> Recipe:
        """An unlisted version is the bare server with the modules and the Java of its listed kin."""
        if self.version in self.recipes:
            return self.recipes[self.version]
        for version, recipe in self.recipes.items():
            if version.startswith(f"{self.major}."):
                return Recipe(recipe.java, recipe.whole_java, modules=recipe.modules)
        raise Failure(f"no version {self.version!r}: known are {', '.join(self.recipes)} and their kin")

    @property
    def home(self) -> Path:
        return cache() / self.kind / self.version

    # --- putting the server together ----------------------------------------------------------------------------------

    def install(self) -> None:
        self.java = java(*self.recipe.java, whole=self.recipe.whole_java)
        with locked(f"{self.kind}-{self.version}"):
            if not self.home.exists():
                self.assemble()
            self.add_plugins()

    def assemble(self) -> None:
        coordinates = self.recipe.bundle or f"{self.group}.distribution.integ-test-zip:{self.kind}:{self.version}"
        say(f"fetching {self.kind} {self.version}" + (" (0.9 GB, of which 0.15 stay)" if self.recipe.bundle else ""))
        part = self.home.with_name(self.home.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        archive = artifact(f"{coordinates}:zip")
        unzip(archive, f"[^/]+/{self.kind}/" if self.recipe.bundle else "[^/]+/", part)
        shutil.rmtree(archive.parent)
        if not (part / "lib" / f"{self.kind}-{self.version}.jar").exists():
            raise Failure(f"{coordinates} does not hold {self.kind} {self.version}")
        for module in self.recipe.without:
            shutil.rmtree(part / "modules" / module, ignore_errors=True)
        self.add_modules(part)
        self.finish(part)
        for folder in ("plugins", "logs"):
            (part / folder).mkdir(exist_ok=True)
        part.rename(self.home)

    def finish(self, home: Path) -> None:
        """What a kind of server needs beside what the zip brought."""

    def add_plugins(self) -> None:
        """At every start: what may differ from one to the next."""

    def add_modules(self, home: Path) -> None:
        modules = self.recipe.modules
        if not modules:
            return
        poms = home / "poms"
        ours = COORDINATES.format("local", "modules", "1")
        for name, module in modules.items():
            needed = COORDINATES.format(f"{self.group}.plugin", module.artifact, self.version)
            dependencies = f"<dependencies><dependency>{needed}</dependency></dependencies>"
            (poms / name).mkdir(parents=True)
            pom = POM.format(f"<parent>{ours}</parent><artifactId>{name}</artifactId>{dependencies}")
            (poms / name / "pom.xml").write_text(pom)
        children = "".join(f"<module>{name}</module>" for name in modules)
        (poms / "pom.xml").write_text(POM.format(f"{ours}<packaging>pom</packaging><modules>{children}</modules>"))
        maven("-f", str(poms / "pom.xml"), f"{DEPENDENCY_PLUGIN}:copy-dependencies", "-DincludeScope=runtime")
        server_jars = {path.name for path in (home / "lib").glob("*.jar")}
        for name, module in modules.items():
            folder = home / "modules" / name
            folder.mkdir()
            for jar in (poms / name / "target/dependency").glob("*.jar"):
                if jar.name not in server_jars:
                    jar.rename(folder / jar.name)
            self.describe(folder, name, module)
        shutil.rmtree(poms)

    def describe(self, folder: Path, name: str, module: Module) -> None:
        descriptor = {
            "name": name,
            "description": name,
            "version": self.version,
            "classname": module.plugin_class,
            f"{self.kind}.version": self.version,
            "java.version": "1.8",
            "extended.plugins": module.extends,
            "has.native.controller": "false",
        }
        lines = "".join(f"{key}={value}\n" for key, value in descriptor.items())
        (folder / "plugin-descriptor.properties").write_text(lines)
        if module.permissions:
            grants = "".join(f"  permission {permission};\n" for permission in module.permissions)
            (folder / "plugin-security.policy").write_text(f"grant {{\n{grants}}};\n")

    # --- starting it --------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, object]:
        return {
            "cluster.name": "tallystick-tests",
            "node.name": f"{self.name}-{self.port}",
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "transport.port": self.port + 1000,
            "discovery.type": "single-node",
            "path.data": self.data,
            "path.logs": self.folder / "logs",
            "cluster.routing.allocation.disk.threshold_enabled": "false",  # a laptop's disk may be nearly full
        }

    def configure(self) -> None:
        conf = self.folder / "conf"
        for folder in (conf, self.folder / "logs", self.folder / "tmp"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        shutil.copy(self.home / "config/log4j2.properties", conf)
        options = (self.home / "config/jvm.options").read_text().splitlines()
        kept = [line for line in options if not re.search(r"Xlog|HeapDump|ErrorFile|^-Xm[sx]", line)]
        (conf / "jvm.options").write_text("\n".join(kept) + "\n")
        lines = (f"{key}: {value}\n" for key, value in self.settings().items())
        (conf / f"{self.kind}.yml").write_text("".join(lines))

    def command(self) -> list[str]:
        return [*without_root(), str(self.home / "bin" / self.kind), *self.arguments]

    def environment(self) -> dict[str, str]:
        foreign = ("ES_", "OPENSEARCH_", "JAVA_", "_JAVA")
        heap, options = (
            os.environ.get("TALLYSTICK_SEARCH_HEAP") or "512m",
            os.environ.get("TALLYSTICK_SEARCH_OPTIONS", ""),
        )
        return {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | {
            f"{self.prefix}_JAVA_HOME": str(self.java),
            f"{self.prefix}_PATH_CONF": str(self.folder / "conf"),
            f"{self.prefix}_TMPDIR": str(self.folder / "tmp"),
            f"{self.prefix}_JAVA_OPTS": f"-Xms{heap} -Xmx{heap} {options}",
        }

    def ready(self) -> bool:
        try:
            with DIRECT.open(f"{self.url}/_cluster/health", timeout=5) as answer:
                return json.load(answer)["status"] in ("green", "yellow")
        except (OSError, ValueError):
            return False
