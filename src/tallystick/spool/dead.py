"""Dead letters: records that a backend rejected, and damaged lines. A log of events, one JSON object a line.

    {"event":"dead","id":"0198…-1234","time":1763…,"reason":"…","header":{…},"offset":1234,"line":"[1763…,\\"counter\\",…]"}
    {"event":"retry","id":"0198…-1234","time":…}        asked for by a person; the agent delivers it again
    {"event":"delivered","id":"0198…-1234","time":…}    so it went
    {"event":"drop","id":"0198…-1234","time":…}         given up by a person

Invariants
- A dead letter keeps the original bytes, its place (so that delivering it again is idempotent), the reason and the
  time.
- The state of a letter is what its events say in order; the same letter twice is one letter.
- Every append and the compaction hold `dead.lock`, so events of several processes do not mix.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Literal

import msgspec

from tallystick.codec import MAX_INTEGER, UNREADABLE, Reader, decode_lines, encode
from tallystick.records import Batch, Header
from tallystick.spool import disk
from tallystick.spool.folder import Folder

COMPACT_BYTES: Final = 1 << 20


class DeadLetter(msgspec.Struct, frozen=True, tag_field="event", tag="dead"):
    """`time` in epoch seconds; `line` is text, or base64 when `encoding` says so; `id` is `<segment>-<offset>`."""

    id: str
    time: float
    reason: str
    header: Header
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
    line: str
    encoding: Literal["utf-8", "base64"] = "utf-8"

    @property
    def raw(self) -> bytes:
        return base64.b64decode(self.line) if self.encoding == "base64" else self.line.encode()

    @property
    def name(self) -> str:
        """The metric's name; `""` when the line cannot be read."""
        lines, _, _ = decode_lines(self.raw + b"\n", 0)
        return lines[0].name if len(lines) == 1 else ""

    def batch(self) -> Batch:
        """The batch of this one record, at its original place; empty when the line cannot be read."""
        return Reader(self.header).batch(self.raw + b"\n", self.offset)[0]


class _Change(msgspec.Struct, frozen=True):
    id: str
    time: float


class _Retry(_Change, frozen=True, tag_field="event", tag="retry"):
    pass


class _Delivered(_Change, frozen=True, tag_field="event", tag="delivered"):
    pass


class _Drop(_Change, frozen=True, tag_field="event", tag="drop"):
    pass


class _Totals(msgspec.Struct, frozen=True, tag_field="event", tag="totals"):
    """What was compacted away: counts by name."""

    delivered: dict[str, int]
    dropped: dict[str, int]


_Event = DeadLetter | _Retry | _Delivered | _Drop | _Totals
_events = msgspec.json.Decoder(_Event)
_DEAD: Final = b'{"event":"dead"'


def letter(header: Header, offset: int, line: bytes, reason: str) -> DeadLetter:
    """A dead letter of the line (without its newline) at this place, as of now."""
    try:
        text, encoding = line.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(line).decode(), "base64"
    identity = f"{header.segment}-{offset}"
    return DeadLetter(identity, time.time(), reason, header, offset, text, encoding)  # type: ignore[arg-type]


class State:
    """What the events add up to."""

    def __init__(self) -> None:
        self.letters: dict[str, DeadLetter] = {}
        self.retry: dict[str, DeadLetter] = {}
        self.delivered: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def add(self, event: _Event) -> None:
        if isinstance(event, DeadLetter):
            self.retry.pop(event.id, None)
            self.letters[event.id] = event
        elif isinstance(event, _Totals):
            self.delivered.update(event.delivered)
            self.dropped.update(event.dropped)
        elif event.id in self.letters:
            if isinstance(event, _Retry):
                self.retry[event.id] = self.letters[event.id]
            else:
                gone = self.letters.pop(event.id)
                self.retry.pop(event.id, None)
                (self.delivered if isinstance(event, _Delivered) else self.dropped)[gone.name] += 1

    def counts(self, present: Iterable[str], at: Mapping[str, int]) -> Counter[str]:
        """The letters by name, but for those beyond these positions in segments that are still there: their lines will
        be read again.
        """
        present = set(present)
        return Counter(
            found.name
            for found in self.letters.values()
            if found.header.segment not in present or found.offset < at.get(found.header.segment, 0)
        )

    def beyond(self, segment: str, offset: int) -> Counter[str]:
        """The letters of a segment from this place on, by name."""
        found = (one for one in self.letters.values() if one.header.segment == segment and one.offset >= offset)
        return Counter(one.name for one in found)


class Log:
    """How far a reader has come, and which letters it found asked for and not yet settled."""

    def __init__(self) -> None:
        self.file = (0, 0)
        self.end = 0
        self.asked: dict[str, None] = {}


class DeadLetters:
    """The dead letters of a pipeline. Safe to use from several processes at once."""

    def __init__(self, folder: Folder, limit_bytes: int = 100_000_000) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    def state(self) -> State:
        """Reads the whole log. A line that cannot be read is passed over."""
        state = State()
        for event in self._read():
            state.add(event)
        return state

    def asked(self, log: Log) -> list[str]:
        """The ids that a person wants delivered again, in order. Reads what was added since `log` was here last."""
        try:
            fd = disk.open_own(self.folder.dead, os.O_RDONLY)
        except OSError:
            return list(log.asked)
        with open(fd, "rb") as lines:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != log.file or found.st_size < log.end:  # compacted, or another one
                log.file, log.end, log.asked = (found.st_dev, found.st_ino), 0, {}
            lines.seek(log.end)
            for line in lines:
                if not line.endswith(b"\n"):  # it is still being written
                    break
                log.end += len(line)
                if not log.asked and line.startswith(_DEAD):
                    continue
                with contextlib.suppress(*UNREADABLE):
                    event = _events.decode(line)
                    if isinstance(event, _Retry):
                        log.asked[event.id] = None
                    elif not isinstance(event, _Totals):
                        log.asked.pop(event.id, None)
        return list(log.asked)

    def letters(self, ids: Iterable[str]) -> list[DeadLetter]:
        """Those of these letters that are neither delivered nor dropped."""
        found: dict[str, DeadLetter | None] = dict.fromkeys(ids)
        for event in self._read():
            if not isinstance(event, _Totals | _Retry) and event.id in found:
                found[event.id] = event if isinstance(event, DeadLetter) else None
        return [one for one in found.values() if one is not None]

    def _read(self) -> Iterator[_Event]:
        try:
            fd = disk.open_own(self.folder.dead, os.O_RDONLY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL, errno.ELOOP):  # none, or a foreign thing of its name
                return
            raise
        with open(fd, "rb") as lines:
            for line in lines:
                with contextlib.suppress(*UNREADABLE):
                    event = _events.decode(line)
                    if isinstance(event, DeadLetter):
                        event.raw  # noqa: B018 - damaged base64 shows here
                    yield event

    def add(self, letters: Iterable[DeadLetter]) -> list[DeadLetter]:
        """Keep these; returns those for which the limit leaves no room. Durable only after `sync`."""
        kept = list(letters)
        lines = [encode(found) + b"\n" for found in kept]
        with self._locked():
            size = self.folder.dead.stat().st_size if self.folder.dead.exists() else 0
            if size + sum(map(len, lines)) > self.limit_bytes:
                size = self._compact(size)
            fitting = 0
            for line in lines:
                if size + len(line) > self.limit_bytes:
                    break
                size += len(line)
                fitting += 1
            self._append(b"".join(lines[:fitting]))
        return kept[fitting:]

    def retry(self, ids: Iterable[str]) -> None:
        self._note([_Retry(identity, time.time()) for identity in ids])

    def drop(self, ids: Iterable[str]) -> None:
        self._note([_Drop(identity, time.time()) for identity in ids])

    def delivered(self, ids: Iterable[str]) -> None:
        self._note([_Delivered(identity, time.time()) for identity in ids])

    def _note(self, events: list[_Retry] | list[_Drop] | list[_Delivered]) -> None:
        with self._locked():
            self._append(b"".join(encode(event) + b"\n" for event in events))
            size = self.folder.dead.stat().st_size
            if size > COMPACT_BYTES:
                self._compact(size)

    def sync(self) -> None:
        """Make all that was added durable."""
        with contextlib.suppress(FileNotFoundError):
            disk.sync_file(self.folder.dead)
            disk.sync_folder(self.folder.path)

    # --- the file ---

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = disk.LockFile(self.folder.dead_lock)
        lock.acquire(wait=True)
        try:
            yield
        finally:
            lock.release()

    def _append(self, data: bytes) -> None:
        self.folder.with_reserve(lambda: self._write(data))

    def _write(self, data: bytes) -> None:
        """All of it or nothing, after a newline: a torn line of a process that died here stays one damaged line."""
        fd = disk.open_own(self.folder.dead, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data
            try:
                disk.write_all(fd, data)
            except OSError:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)

    def _compact(self, size: int) -> int:
        """Forget the letters that were delivered or dropped, but their counts; the new size in bytes."""
        state = self.state()
        parts = [encode(_Totals(state.delivered, state.dropped)) + b"\n"]
        for found in state.letters.values():
            parts.append(encode(found) + b"\n")
            if found.id in state.retry:
                parts.append(encode(_Retry(found.id, time.time())) + b"\n")
        data = b"".join(parts)
        if len(data) < size // 2:
            with contextlib.suppress(OSError):
                disk.replace_file(self.folder.dead, data, durable=True)
                return len(data)
        return size
