"""A type's description: the JSON document `<pipeline>/types/<name>-<digest>.json`.

An agent in another process never imports the user's code; it knows a type by this. It is written when the type first
records, and a record names its digest, so an older record keeps the description of its day.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from tallystick.spool import disk
from tallystick.typed.fields import FieldOptions

FOLDER: Final = "types"


class Description(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`schema` is the JSON schema of the document that a record's value is; the record's time is not in it."""

    name: str
    period: str
    retention_days: float | None = None
    unique_together: tuple[str, ...] = ()
    schema: dict[str, Any]
    options: dict[str, FieldOptions] = {}

    @property
    def digest(self) -> str:
        return blake2b(msgspec.json.encode(self, order="deterministic"), digest_size=8).hexdigest()

    @property
    def fields(self) -> list[str]:
        return list(self.schema.get("properties", {}))

    def write(self, pipeline: Path) -> Path:
        """Into the pipeline's folder, durably and once. Raises `OSError`, `SpoolError`."""
        path = pipeline / FOLDER / f"{self.name}-{self.digest}.json"
        if not path.exists():
            disk.make_folder(path.parent)
            try:
                disk.replace_file(path, msgspec.json.format(msgspec.json.encode(self)) + b"\n", durable=True)
            except FileNotFoundError:
                if not path.exists():  # else another process put its copy, the same bytes, in place
                    raise
        return path


_decode = msgspec.json.Decoder(Description).decode


def described(pipeline: Path) -> Iterator[tuple[Description, Path]]:
    """What the pipeline's folder says of types, by name; the newest of a name first. A file that is none of ours is
    passed over."""
    found = []
    for path in (pipeline / FOLDER).glob("*.json"):
        try:
            found.append((_decode(disk.read_own(path)), path, path.stat().st_mtime_ns))
        except (OSError, msgspec.MsgspecError):
            continue
    for one, path, _ in sorted(found, key=lambda each: (each[0].name, -each[2])):
        yield one, path
