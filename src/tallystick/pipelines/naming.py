"""A pipeline's name, from where its records go: one destination, one name, in words that a person can read.

    sqlite file of the home                          default
    postgresql://db1/metrics                         postgresql-db1-metrics
    clickhouse+https://db1/metrics                   clickhouse.https-db1-metrics
    postgresql://db1:5433/metrics?schema=shop        postgresql-db1-metrics.8a1f03c2

Invariants
- Two addresses never share a name. The words alone are the name when the address can be read back from them: scheme,
  host and database, all else as it is by default. Otherwise a digest of the address follows, behind a dot; a database
  with a dot in its name has one too, so the two forms do not meet.
- The name knows no secret, since an address has none, and does not change with a password.
- Homes of versions that named in another way are taken over: a pipeline that such a version described for an address
  goes on being the one for it, `default` included.
"""

from __future__ import annotations

import contextlib
import os
import re
from functools import cache
from pathlib import Path
from typing import Final

from tallystick.errors import TallystickError
from tallystick.pipelines import description
from tallystick.plugins import target_from_url
from tallystick.settings import Settings
from tallystick.spool.folder import Folder

DEFAULT: Final = "default"
_PLAIN: Final = r"([a-z][a-z0-9]*(?:\+[a-z0-9]+)?)://([a-z0-9.-]+)(?::\d+)?/([a-z0-9_]+)(?:\?.*)?"
_EARLIER: Final = r"[a-z0-9_]+-[0-9a-f]{12}"
WORDS: Final = 60
"""How many characters of an address a name shows at most, before its digest."""


def pipeline_of(settings: Settings, address: str | None) -> str:
    """The pipeline that `Metrics` records into: the one that is named, else the one of this address, else `default`."""
    if settings.source("pipeline") != "default":
        return settings.pipeline
    return DEFAULT if address is None else pipeline_for(settings.home, address)


def pipeline_for(home: Path, address: str) -> str:
    """The pipeline of this home for an address that is not `default`'s by nature."""
    if address == own_file(Folder(home, DEFAULT)):
        return DEFAULT
    for name in _of_earlier_versions(home):
        about = description.read(Folder(home, name))
        if about.backend == address and about.by != "folder":
            return name
    return named_after(address)


def own_file(folder: Folder) -> str:
    """The address of the SQLite file in the pipeline's folder."""
    from tallystick.backends.sqlite.backend import SqliteBackend

    return SqliteBackend(folder.database).address


@cache
def named_after(address: str) -> str:
    """The name that follows from an address alone."""
    plain = re.fullmatch(_PLAIN, address)
    if plain and _address_of(f"{plain[1]}://{plain[2]}/{plain[3]}") == address:
        name = f"{plain[1].replace('+', '.')}-{plain[2]}-{plain[3]}"
        if len(name) <= WORDS:
            return name
    import hashlib  # brings OpenSSL along, which most programs that only record never need

    digest = hashlib.blake2b(address.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return f"{_words(address)}.{digest}"


def _words(address: str) -> str:
    """Scheme, first host, and the end of the path: enough for a person to know which it is."""
    scheme, _, rest = address.partition("?")[0].rpartition("://")
    first, *more = [part for part in rest.split("/") if part] or [""]
    if scheme in ("sqlite", "parquet"):
        parts = [part for part in rest.removesuffix(".db").split("/") if part][-2:]
    else:
        parts = [re.sub(r":\d+$", "", first.split(",")[0]), *more[-1:]]
    words = re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(filter(None, [scheme, *parts])))
    return words.strip("-")[:WORDS].rstrip("-") or "backend"


def _address_of(url: str) -> str:
    try:
        return str(target_from_url(url).address)
    except TallystickError:
        return ""


def _of_earlier_versions(home: Path) -> list[str]:
    """The pipelines that may be named as versions before did: they keep what they are for."""
    found: list[str] = []
    with contextlib.suppress(OSError):  # no home yet
        found = [name for name in os.listdir(home) if name == DEFAULT or re.fullmatch(_EARLIER, name)]
    return sorted(found)
