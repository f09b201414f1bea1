"""The way of a call into the spool: checks, filters, encoding; and what makes the next such call short.

Invariants
- The long way, `record`, never raises (unless `strict`, and then only `RecordError`): what is wrong is counted and
  logged.
- An entry of the short way was made by the long way, so it passed all checks and every filter. It is used only when the
  tags given are equal to the tags it was made from, and only for plain finite numbers; its line stays below the limit
  with any of them.
- A filter may look at anything, so with filters there is no short way.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterable, Mapping
from time import time_ns
from typing import Any, Final, TypeAlias

from tallystick.codec import ALL, MAX_INTEGER, Extra, encode, encode_line, plain
from tallystick.errors import RecordError, said_by
from tallystick.forks import here
from tallystick.interruptions import from_outside
from tallystick.pipelines.inline import Inline
from tallystick.recorder import draft as drafts
from tallystick.recorder.draft import Draft
from tallystick.recorder.filters import Filter, Scrub
from tallystick.recorder.refusals import Refusals, printable, refusing
from tallystick.records import COUNTER, GAUGE, TIMING, Record
from tallystick.settings import Settings
from tallystick.spool.spool import Spool

Tags: TypeAlias = Mapping[str, object] | Iterable[str] | None

CACHED: Final = 4_096
"""So many combinations of kind, name and tags are kept ready; then all are forgotten at once."""

ONE: Final = 1
"""The default of a count. It is told by `is`: `== 1` would also be true of `1+0j`, which is refused."""

NUMBER_BYTES: Final = 64
"""More than a time and a number take in a line."""

Parts: TypeAlias = tuple[tuple[bytes, bytes], bytes, bytes]
"""`one, head, tail`: lines that lack the time (and value). `encode(time_ns()).join(one)` is the line of a 1, and
`b"".join((b"[", encode(time_ns()), head, encode(value), tail))` of any number. No other way was found to be faster.
"""
Ready: TypeAlias = dict[str, dict[bytes, tuple[Any, tuple[bytes, bytes], bytes, bytes]]]
"""By name, and by the tags as JSON: the tags as they were given (a copy), and the `Parts`."""


class Shared:
    """What a `Metrics` and its bound children have in common."""

    def __init__(self, settings: Settings, spool: Spool | Inline, filters: tuple[Filter, ...]) -> None:
        self.settings = settings
        self.spool = spool
        self.filters = filters
        self.scrub = Scrub(settings.scrub)
        self.refusals = Refusals()
        self.short = not filters and settings.sample_rate == 1.0
        self.longest_bytes = min(drafts.LINE_BYTES, settings.segment_bytes // 4)
        self._cached = 0
        self.recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()

    def learn(self, cache: Ready, name: Any, tags: Any, parts: Parts) -> None:
        """Takes no lock, which a signal handler or a forked child might find taken for ever: that two threads learn at
        once costs no more than a wrong count of what is cached.
        """
        self._cached += 1
        if self._cached > CACHED:
            self._cached = 1
            for recorder in list(self.recorders):
                for one in recorder.ready.values():
                    one.clear()
        try:
            copied = tags if tags is None else dict(tags) if isinstance(tags, Mapping) else list(tags)
            cache.setdefault(name, {})[encode(copied)] = (copied, *parts)
        except Exception as error:  # tags that cannot be copied: the record is stored, and the next as slowly
            if from_outside(error):
                raise


class Recorder:
    """Records with certain tags and a prefix; `bind` gives one that adds to them."""

    def __init__(
        self, shared: Shared, tags: dict[str, str] | None = None, words: list[str] | None = None, namespace: str = ""
    ) -> None:
        self.shared = shared
        self.spool = shared.spool
        self.ready: dict[str, Ready] = {kind: {} for kind in (COUNTER, GAUGE, TIMING)}
        shared.recorders.add(self)
        self._timings = self.ready[TIMING]
        self._tags = tags or {}
        self._words = words or []
        self._namespace = namespace
        self._prefix = f"{namespace}." if namespace else ""

    def bind(self, tags: Tags, namespace: str) -> Recorder:
        """Raises `RecordError`."""
        with refusing():
            own = drafts.check_tags(tags)
            more_words, more_tags = (own, {}) if isinstance(own, list) else ([], own)
            full = self._namespace
            if namespace not in ("", None):
                full = self._prefix + drafts.text(namespace, "namespace", drafts.NAME_CHARACTERS)
        return Recorder(self.shared, {**self._tags, **more_tags}, [*self._words, *more_words], full)

    def prepare(self, kind: str, name: str, tags: Tags) -> Parts | None:
        """The parts for a handle; None when its calls must take the long way. Raises `RecordError`."""
        with refusing():
            draft = drafts.make(kind, self._full(name), 1, tags)
            draft.tags = self._merged(draft.tags)
            draft = self.shared.scrub(draft)
            self._line(draft)
            return self._parts(draft) if self.shared.short else None

    # --- the short way ---

    def write_ready(self, kind: str, name: str, value: object, tags: Tags) -> bool:
        """Write a number under a name and tags seen before; False when the long way must be taken."""
        try:
            same, _, head, tail = self.ready[kind][name][encode(tags)]
            if (
                same == tags
                and here[0]
                and (
                    (type(value) is float and value - value == 0.0)
                    or (type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER)
                )
            ):
                self.spool.write(b"".join((b"[", encode(time_ns()), head, encode(value), tail)))
                return True
        except Exception as error:  # not seen before, no room in the segment, not to be encoded: the long way finds out
            if from_outside(error):
                raise
            return False
        return False

    def record_timed(self, name: str, seconds: float, tags: Tags, use_ms: bool) -> None:
        """`seconds` are of a clock, so they are a finite float."""
        try:
            if not use_ms:
                same, _, head, tail = self._timings[name][encode(tags)]
                if same == tags and here[0]:
                    self.spool.write(b"".join((b"[", encode(time_ns()), head, encode(seconds), tail)))
                    return
        except Exception as error:  # as in `write_ready`
            if from_outside(error):
                raise
        if use_ms:
            self.record(TIMING, name, round(seconds * 1000), tags, None, None, "ms")
        else:
            self.record(TIMING, name, seconds, tags)

    # --- the long way ---

    def record(
        self,
        kind: object,
        name: object,
        value: object,
        tags: object = None,
        timestamp: object = None,
        metadata: object = None,
        unit: object = None,
        sample_rate: object = None,
        id_: object = None,
        *,
        ready: Record | None = None,
    ) -> None:
        """`ready` brings a time and a sample rate along."""
        shared = self.shared
        try:
            rate = shared.settings.sample_rate if sample_rate is None else drafts.check_sample_rate(sample_rate)
            if isinstance(tags, Iterable) and not isinstance(tags, str | Mapping | list):
                tags = drafts.kept(tags)
            draft = drafts.make(
                kind,
                self._full(name),
                value,
                tags,
                timestamp=timestamp,
                unit=unit,
                metadata=metadata,
                id_=id_,
                sample_rate=rate if ready is None else rate * drafts.check_sample_rate(ready.sample_rate),
            )
            if rate < 1 and random.random() >= rate:
                return
            draft.tags = self._merged(draft.tags)
            if ready is not None:
                draft.timestamp_ns = ready.timestamp_ns
                drafts.check_moment(ready.timestamp_ns, "timestamp_ns")
            passed = self._filtered(shared.scrub(draft))
            if passed is not None and self.spool.append(self._line(passed), passed.name):
                plain_call = timestamp is None and metadata is None and unit is None and id_ is None and ready is None
                if shared.short and plain_call and passed.sample_rate == 1.0 and kind in self.ready:
                    parts = self._parts(passed)
                    if parts is not None:
                        shared.learn(self.ready[passed.kind], name, tags, parts)
        except RecordError as error:
            self.refuse(error, name)
        except Exception as error:  # an object whose own code fails when it is looked at, or a filter
            if from_outside(error):
                raise
            self.refuse(RecordError("failed", "record", said_by(error)), name)

    def record_ready(self, record: object) -> None:
        """A `Record` made elsewhere."""
        name: object = ""
        try:
            if not isinstance(record, Record):
                raise RecordError("type", "record", "this is no tallystick.Record; make one, or call custom()")
            name = record.name
            tags, metadata = drafts.kept(record.words) or record.tags, record.metadata or None
        except RecordError as error:
            self.refuse(error, name)
            return
        except Exception as error:  # its fields may hold anything: nobody has looked at them yet
            if from_outside(error):
                raise
            self.refuse(RecordError("failed", "record", said_by(error)), name)
            return
        self.record(
            record.kind,
            record.name,
            record.value,
            tags,
            None,
            metadata,
            record.unit,
            None,
            record.own_id,
            ready=record,
        )

    # --- several at once ---

    def draft(self, kind: str, name: object, value: object, tags: object = None, **details: Any) -> Draft:
        """A checked draft with the bound prefix. Raises `RecordError`."""
        with refusing():
            return drafts.make(kind, self._full(name), value, tags, **details)

    def record_together(self, unit: list[Draft], tags: dict[str, str], metadata: dict[str, Any]) -> None:
        """Append these drafts in one copy: all of them or none. `tags` and `metadata` are for each of them."""
        shared = self.shared
        passed = []
        for draft in unit:
            try:
                own = dict.fromkeys(draft.tags, "true") if isinstance(draft.tags, list) else draft.tags
                draft.tags = self._merged({**tags, **own})
                draft.metadata = {**metadata, **draft.metadata}
                if (kept := self._filtered(shared.scrub(draft))) is not None:
                    self._line(kept)
                    passed.append(kept)
            except RecordError as error:
                self.refuse(error, draft.name)
            except Exception as error:  # a filter
                if from_outside(error):
                    raise
                self.refuse(RecordError("failed", "record", said_by(error)), draft.name)
        if not passed:
            return
        lines = [self._line(draft, len(passed) if index == 0 else 0) for index, draft in enumerate(passed)]
        if isinstance(self.spool, Inline):
            for line, draft in zip(lines, passed, strict=True):
                self.spool.append(line, draft.name)
        elif not self.spool.append(b"".join(lines), passed[0].name):
            for draft in passed[1:]:
                self.spool.tally.add("dropped", "unit", draft.name)

    def lose(self, names: list[str], reason: str) -> None:
        """These were collected and are not recorded."""
        for name in names:
            self.spool.tally.add("dropped", reason, name)
        if names:
            message = f"a unit of work was never ended, {len(names)} of its records are lost; use it in a with block"
            self.shared.refusals.note(RecordError(reason, "collector", message), names[0])

    def refuse(self, error: RecordError, name: object) -> None:
        shown = printable(name)
        self.spool.tally.add("refused", error.reason, shown)
        if self.shared.settings.strict:
            raise error
        self.shared.refusals.note(error, shown)

    def _full(self, name: object) -> Any:
        return self._prefix + name if isinstance(name, str) and name else name

    def _merged(self, tags: dict[str, str] | list[str]) -> dict[str, str] | list[str]:
        """The call's tags and the bound ones; words beside texts become `{word: "true"}`."""
        if isinstance(tags, list):
            if not self._tags:
                return list(dict.fromkeys([*self._words, *tags]))
            tags = dict.fromkeys(tags, "true")
        elif not tags and not self._tags:
            return list(self._words)
        return {**dict.fromkeys(self._words, "true"), **self._tags, **tags}

    def _filtered(self, draft: Draft) -> Draft | None:
        for one in self.shared.filters:
            passed = one(draft)
            if passed is None:
                self.spool.tally.add("refused", "filter", printable(draft.name))
                return None
            draft = passed
        return drafts.checked(draft) if self.shared.filters else draft

    def _line(self, draft: Draft, together: int = 0) -> bytes:
        value, pointers = plain(draft.value)
        rate = ALL if draft.sample_rate == 1.0 else draft.sample_rate
        extra = Extra(draft.unit, draft.metadata, draft.id, rate, tuple(pointers), together)
        line = encode_line(draft.timestamp_ns, draft.kind, draft.name, value, draft.tags, extra)
        longest = self.shared.longest_bytes
        if len(line) > longest:
            raise RecordError("too_large", "value", f"the record takes {len(line)} bytes; record at most {longest}")
        return line

    def _parts(self, draft: Draft) -> Parts | None:
        """What the short way needs; None when some number would make the line too long."""
        head = b"," + encode(draft.kind) + b"," + encode(draft.name) + b","
        tail = (b"," + encode(draft.tags) if draft.tags else b"") + b"]\n"
        if len(head) + len(tail) + NUMBER_BYTES > self.shared.longest_bytes:
            return None
        return (b"[", head + b"1" + tail), head, tail
