"""`capture()`: what did the code under test record?

    with capture() as captured:
        sign_up("ada")
    captured.assert_recorded("user.signup", tags={"plan": "free"}, count=1)

While it lasts, every `Metrics` of this process, made before or during it, records into memory, and nothing reaches a
spool or a backend. Checks, filters and tags work as ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tallystick.backends.memory import MemoryBackend
from tallystick.pipelines.inline import Inline
from tallystick.queries import Query, Series
from tallystick.recorder.exit import Open, watching
from tallystick.records import Record

_ANY: Final = object()


class Captured:
    """The records of a `capture()`, oldest first."""

    def __init__(self) -> None:
        self._backend: MemoryBackend = MemoryBackend()
        self._lines = Inline(self._backend, app="", host="", tags={})

    @property
    def records(self) -> list[Record]:
        return list(self._backend.records(Query()))

    def find(
        self, name: str, *, kind: str | None = None, value: Any = _ANY, tags: Mapping[str, str] | None = None
    ) -> list[Record]:
        """The records of this name that have this kind, this value, and at least these tags."""
        wanted = dict(tags or {}).items()
        return [
            record
            for record in self.records
            if record.name == name
            and kind in (None, record.kind)
            and (value is _ANY or record.value == value)
            and wanted <= record.tags.items()
        ]

    def assert_recorded(
        self,
        name: str,
        *,
        kind: str | None = None,
        value: Any = _ANY,
        tags: Mapping[str, str] | None = None,
        count: int | None = None,
    ) -> None:
        """Fails unless such records were made: exactly `count` of them, or without it at least one."""
        found = self.find(name, kind=kind, value=value, tags=tags)
        if len(found) == count or (count is None and found):
            return
        asked = [f"name={name!r}", *(f"{key}={given!r}" for key, given in (("kind", kind), ("tags", tags)) if given)]
        if value is not _ANY:
            asked.append(f"value={value!r}")
        expected = "at least one record" if count is None else f"{count} records"
        shown = "\n".join(f"  {r.kind} {r.name} {r.value!r} {r.tags}" for r in self.records[:50]) or "  nothing"
        raise AssertionError(f"expected {expected} with {', '.join(asked)}, found {len(found)}; recorded:\n{shown}")

    def assert_not_recorded(self, name: str, *, tags: Mapping[str, str] | None = None) -> None:
        self.assert_recorded(name, tags=tags, count=0)

    def query(self, query: Query) -> list[Series]:
        """Ask what was captured, as one would ask a database."""
        return self._backend.query(query)

    def clear(self) -> None:
        """Forget what was captured so far."""
        self._backend = self._lines.backend = MemoryBackend()


@contextlib.contextmanager
def capture() -> Iterator[Captured]:
    """Let every `Metrics` record into memory, and give what it recorded. Captures may not be nested."""
    captured = Captured()
    diverted: list[Open] = []

    def divert(recorder: Open) -> None:
        recorder.divert(captured._lines)
        diverted.append(recorder)

    with watching(divert):
        try:
            yield captured
        finally:
            for recorder in diverted:
                recorder.divert(None)
