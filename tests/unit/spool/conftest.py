"""Spools in a folder of the test's own, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick.codec import FORMAT, encode_header, encode_line
from tallystick.records import Header
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder
from tallystick.spool.source import SpoolSource
from tallystick.spool.spool import Spool

NOW_NS = 1_763_683_200_000_000_000


def line(value: Any, name: str = "n", tags: Any = None) -> bytes:
    return encode_line(NOW_NS, "counter", name, value, tags)


def write_segment(folder: Folder, identity: str, *lines: bytes, header: bytes | None = None) -> Path:
    """A segment that belongs to nobody, with these lines."""
    own = encode_header(Header(FORMAT, identity, "web-1", 7, "shop", 0, {"env": "prod"}))
    path = folder.segment(identity)
    path.write_bytes((own if header is None else header) + b"".join(lines))
    return path


@pytest.fixture
def folder(home: Path) -> Folder:
    return Folder(home).open()


@pytest.fixture
def make_spool(folder: Folder) -> Iterator[Callable[..., Spool]]:
    made: list[Spool] = []

    def make(**arguments: Any) -> Spool:
        made.append(Spool(folder, **{"segment_bytes": 4096, **arguments}))
        return made[-1]

    yield make
    for spool in made:
        spool.close()


@pytest.fixture
def source(folder: Folder) -> Iterator[SpoolSource]:
    source = SpoolSource(folder, DeadLetters(folder))
    yield source
    source.close()


def deliver_all(source: SpoolSource, rejected: Callable[[str], bool] = lambda _: False) -> list[Any]:
    """The values in the order of their delivery; records whose name is rejected become dead letters."""
    values = []
    while delivery := source.receive(100):
        values += [record.value for record in delivery.batch.records]
        refused = {i: "no" for i, record in enumerate(delivery.batch.records) if rejected(record.name)}
        source.settle(delivery, refused)
    return values
