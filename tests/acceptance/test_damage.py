"""Damaged spools: delivery always starts, loses at most the damaged lines, and counts them.

Each example takes a spool that the library wrote, damages some of its files, and lets an agent deliver it. What must
come out is known from the damaged bytes alone: each line that stands there is either a record, delivered once, or a
dead letter; and a line that stands there as it was written is delivered as it was written.

Bytes that move (a block doubled, a middle removed) move only what was not yet delivered. A record's id is its place, so
no ledger could know a record again that was delivered at one place and then moved to another.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.agent.attempt import Attempt
from tallystick.backends.base import WriteResult
from tallystick.backends.memory import MemoryBackend
from tallystick.codec import DamagedHeader, decode_header, encode_line, record_line, with_checksum
from tallystick.pipelines.agents import spool_agent
from tallystick.recorder.metrics import Metrics
from tallystick.records import Batch, Record
from tallystick.spool.account import account
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder
from tallystick.spool.source import SpoolSource
from tallystick.spool.spool import Spool

SEGMENT_BYTES = 4096
HINTS = ("positions.json", "dead.jsonl", "attempt")


class Picky(MemoryBackend):
    """Rejects some records and notes how often each content came in, at whatever place."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, Record] = {}

    def write(self, batch: Batch) -> WriteResult:
        rejected = {i: "no sevens" for i, record in enumerate(batch.records) if record.name == "seven"}
        for i, record in enumerate(batch.records):
            if i not in rejected:
                self.stored.setdefault(record.id, record)
        return WriteResult(rejected)


class World(msgspec.Struct, frozen=True):
    """A spool as bytes, and what was delivered from it before."""

    name: str

    files: dict[str, bytes]
    stored: dict[str, Record]
    settled: dict[str, int]
    """By segment: how far it was delivered."""
    lines: frozenset[bytes]

    def segments(self) -> list[str]:
        return sorted(name for name in self.files if name.startswith("segments/") and name.endswith(".jsonl"))

    def __repr__(self) -> str:
        return self.name


def write_spool(folder: Folder, count: int, start: int = 0) -> None:
    """Sealed segments, a last one as a killed writer leaves it, and its tally."""
    spool = Spool(folder, app="shop", host="web-1", tags={"env": "prod"}, segment_bytes=SEGMENT_BYTES)
    spool._tender.wake = lambda: None  # type: ignore[method-assign]  # one thread only: the same files each time
    for value in range(start, start + count):
        name = "seven" if value % 41 == 7 else "user.signup" if value % 2 else "größe"
        spool.append(encode_line(1_763_683_200_000_000_000 + value, "counter", name, value, {"plan": "pro"}), name)
    spool.append(b"x" * SEGMENT_BYTES, "too.large")
    spool._tender.seal_old()
    _left_open.append(spool)


_left_open: list[Spool] = []


def read_files(folder: Folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder.path)): p.read_bytes() for p in sorted(folder.path.rglob("*")) if p.is_file()}


def lines_in(files: dict[str, bytes]) -> frozenset[bytes]:
    return frozenset(
        line
        for name, data in files.items()
        if name.endswith(".jsonl") and "/" in name
        for line in data.split(b"\n")[1:-1]
    )


def new_world(tmp: Path, *, delivered: int) -> World:
    """With about so many records delivered before, and the notes of the agent that did it."""
    folder = Folder(tmp).open()
    write_spool(folder, 150)
    whole = read_files(folder)
    backend, settled = Picky(), dict[str, int]()
    if delivered:
        source = SpoolSource(folder, DeadLetters(folder))
        while len(backend.stored) < delivered and (delivery := source.receive(20)):
            source.settle(delivery, backend.write(delivery.batch).rejected)
        source.save()
        settled = dict(source.positions.at)
        if delivery := source.receive(20):
            attempt = Attempt(folder)
            attempt.begin(delivery.batch)
    files = {name: data for name, data in read_files(folder).items() if "lock" not in name}
    return World(f"<{delivered} delivered>", files, backend.stored, settled, lines_in(whole))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[World]:
    return [new_world(tmp_path_factory.mktemp("world"), delivered=count) for count in (0, 0, 30, 75)]


# --- damage ---


class Damage(msgspec.Struct, frozen=True):
    """One thing done to a file: the place and the length are taken modulo what the file has."""

    file: str
    what: str
    at: int
    length: int
    bytes: bytes


IN_PLACE = ("zero", "flip", "truncate", "overwrite")
MOVING = ("double", "remove", "insert")
TO_HINTS = (*IN_PLACE, *MOVING, "empty", "replace", "digit")
SEGMENTS = ("first", "second", "last")

lengths = st.integers(0, 64) | st.integers(0, SEGMENT_BYTES)
few_bytes = st.binary(min_size=1, max_size=12)
places = st.integers(0, 2 * SEGMENT_BYTES) | st.integers(0, 150)
to_segments = st.builds(
    Damage, st.sampled_from(SEGMENTS), st.sampled_from(IN_PLACE + MOVING), places, lengths, few_bytes
)
to_hints = st.builds(Damage, st.sampled_from((*HINTS, "tally")), st.sampled_from(TO_HINTS), places, lengths, few_bytes)
damages = st.lists(to_segments, max_size=3), st.lists(to_hints, max_size=3)

NONSENSE = [
    b"{}",
    b"[]",
    b"null",
    b"[" * 5000,
    b'{"x":' * 5000,
    b'{"tallystick":1,"since":0,"at":{}}',
    b'{"tallystick":-1,"since":1e300,"at":{"a":-1}}',
    b'{"tallystick":1,"since":0,"at":{},"accepted":{"x":99999999999999999999999}}',
    b'{"segment":"a","start":-1,"end":99999999999999999999999,"crashes":7}',
    (
        b'{"event":"dead","id":"a-1","time":0,"reason":"","header":{"tallystick":1,"segment":"a"},"offset":1,"line":"Y"'
        b',"encoding":"base64"}\n{"event":"retry","id":"a-1","time":0}\n'
    ),
    (
        b'{"event":"dead","id":"b-1","time":0,"reason":"","header":{"tallystick":1,"segment":"c"},"offset":-5,'
        b'"line":"[1,\\"counter\\",\\"seven\\",1]"}\n{"event":"retry","id":"b-1","time":0}\n'
    ),
    b'{"event":"totals","delivered":{"x":-5},"dropped":{"y":99999999999999999999999}}\n',
]


def flipped(data: bytes, at: int, damage: Damage) -> bytes:
    result = bytearray(data)
    for index, bits in enumerate(damage.bytes if data else b""):
        result[(at + index * damage.length) % len(result)] ^= bits
    return bytes(result)


def other_digit(data: bytes, damage: Damage) -> bytes:
    digits = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    place = digits[damage.at % len(digits)] if digits else 0
    return data[:place] + b"%d" % (damage.length % 10) + data[place + 1 :]


DOING: dict[str, Callable[[bytes, int, int, Damage], bytes]] = {
    "zero": lambda data, at, end, _: data[:at] + bytes(end - at) + data[end:],
    "flip": lambda data, at, _, damage: flipped(data, at, damage),
    "truncate": lambda data, at, *_: data[:at],
    "overwrite": lambda data, at, _, damage: (data[:at] + damage.bytes + data[at + len(damage.bytes) :])[: len(data)],
    "double": lambda data, at, end, _: data[:end] + data[at:end] + data[end:],
    "remove": lambda data, at, end, _: data[:at] + data[end:],
    "insert": lambda data, at, _, damage: data[:at] + damage.bytes + data[at:],
    "empty": lambda *_: b"",
    "replace": lambda _, __, ___, damage: NONSENSE[damage.at % len(NONSENSE)],
    "digit": lambda data, _, __, damage: other_digit(data, damage),
}


def done_to(data: bytes, damage: Damage, start: int) -> bytes:
    """The file after it. What moves bytes does so after `start`, and within what was written."""
    if damage.what in MOVING:
        size = max(0, len(data.rstrip(b"\0")) - start)
    else:
        start, size = 0, len(data)
    at = start + damage.at % (size + 1)
    return DOING[damage.what](data, at, min(at + damage.length, start + size), damage)


def claims_newer_format(data: bytes) -> bool:
    """Whether a damaged header says what a newer version's header would say."""
    try:
        return int(msgspec.json.decode(data.partition(b"\n")[0])["tallystick"]) > 1
    except (ValueError, TypeError, LookupError, RecursionError):
        return False


def is_no_header(line: bytes, segment: str) -> bool:
    try:
        return decode_header(line).segment != segment
    except DamagedHeader:
        return True


class Case:
    """A world after its damage."""

    def __init__(self, world: World, to_segments: list[Damage], to_hints: list[Damage]) -> None:
        self.world = world
        self.files = dict(world.files)
        names = world.segments()
        moved = False
        for damage in to_segments:
            name = names[SEGMENTS.index(damage.file)]
            settled = world.settled.get(Path(name).stem, 0)
            moved |= damage.what in MOVING and settled > 0
            self.files[name] = done_to(self.files[name], damage, settled)
        for damage in to_hints:
            name = damage.file if damage.file != "tally" else next(name for name in world.files if "tally" in name)
            if name == "positions.json" and moved:
                continue  # bytes that moved would be read at places where others were delivered
            self.files[name] = done_to(self.files.get(name, b""), damage, 0)
        self.newer = {Path(name).stem for name in names if claims_newer_format(self.files[name])}
        self.balances = self.files.get("dead.jsonl") == world.files.get("dead.jsonl")


# --- delivery ---


@contextmanager
def complaints() -> Iterator[list[logging.LogRecord]]:
    """What the library logs as an error meanwhile."""
    found: list[logging.LogRecord] = []

    class Finding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    logger, handler = logging.getLogger("tallystick"), Finding(logging.ERROR)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def deliver(folder: Folder, stored: dict[str, Record]) -> tuple[Picky, bool]:
    backend = Picky()
    backend.stored = dict(stored)
    return backend, spool_agent(folder, backend).run("passed")


def content(records: Iterable[Record]) -> Counter[bytes]:
    return Counter(record_line(record, record.header.tags) for record in records)


def check_delivered(case: Case, folder: Folder) -> None:
    before = set(DeadLetters(folder).state().letters)
    backend, done = deliver(folder, case.world.stored)
    assert done
    assert set(folder.segment_ids()) == case.newer
    letters = DeadLetters(folder).state().letters
    new = {key: record for key, record in backend.stored.items() if key not in case.world.stored}
    contents, again = content(new.values()), content(case.world.stored.values())
    standing: Counter[bytes] = Counter()
    for name, data in case.files.items():
        segment, offset = Path(name).stem, 0
        if not (name.startswith("segments/") and name.endswith(".jsonl")):
            continue
        if segment in case.newer:
            assert folder.segment(segment).read_bytes() == data
            continue
        settled = case.world.settled.get(segment, 0)
        for index, line in enumerate(data.split(b"\n")[:-1]):
            place = f"{segment}-{offset}"
            if not index and not settled and is_no_header(line, segment) and line.rstrip(b"\0"):
                assert place in letters, f"the header {line!r} was passed over in silence"
            if index and offset >= settled:
                assert place in backend.stored or place in letters, f"{place} ({line!r}) is lost"
                if line in case.world.lines:
                    assert b'"seven"' in line or place in backend.stored, f"{place} is undamaged, yet {letters[place]}"
                    standing[line + b"\n"] += b'"seven"' not in line
            offset += len(line) + 1
    for line, count in standing.items():
        assert contents[line] == count, f"{line!r} stands there {count} times, was delivered {contents[line]} times"
    for line in contents:
        assert not again[line], f"{line!r} was delivered before, and once more"
    for key in letters.keys() - before:
        assert letters[key].reason
    if case.balances:
        assert account(folder).imbalance() == {}


def lay_out(files: dict[str, bytes], home: Path) -> Folder:
    folder = Folder(home).open()
    for name, data in files.items():
        (folder.path / name).write_bytes(data)
    return folder


def test_any_damage_costs_at_most_the_damaged_lines_and_is_counted(worlds: list[World], thorough: bool) -> None:
    @settings(max_examples=20_000 if thorough else 300, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.sampled_from(worlds), *damages)
    def check(world: World, to_segments: list[Damage], to_hints: list[Damage]) -> None:
        case = Case(world, to_segments, to_hints)
        with TemporaryDirectory() as home, complaints() as logged:
            check_delivered(case, lay_out(case.files, Path(home)))
            assert [record.name for record in logged] == ["tallystick.spool"] * len(case.newer)

    check()


# --- newer formats ---


def test_a_segment_of_a_newer_format_is_refused_with_a_message_and_left_untouched(
    worlds: list[World], home: Path
) -> None:
    folder = lay_out(worlds[0].files, home)
    newer = folder.segments / "000000000000aaaaaaaaaaaa.jsonl"  # the oldest: it stands before all others
    newer.write_bytes(b'{"tallystick":2,"segment":"000000000000aaaaaaaaaaaa","shape":"new"}\n{"future":1}\n')
    before = newer.read_bytes(), newer.stat().st_mtime_ns
    with complaints() as logged:
        backend, done = deliver(folder, {})
    assert done
    assert len(backend.stored) == len(worlds[0].lines) - sum(b'"seven"' in line for line in worlds[0].lines)
    assert (newer.read_bytes(), newer.stat().st_mtime_ns) == before
    assert folder.segment_ids() == [newer.stem]
    (message,) = [record.getMessage() for record in logged]
    assert "format 2" in message
    assert "upgrade tallystick" in message
    assert str(newer) in message
    assert any("format 2" in line for line in account(folder).unreadable)


def test_positions_of_a_newer_format_are_refused_with_a_message_and_nothing_is_touched(
    worlds: list[World], home: Path
) -> None:
    files = {**worlds[2].files, "positions.json": with_checksum(b'{"tallystick":2,"where":{"a":1}}')}
    folder = lay_out(files, home)
    with complaints() as logged:
        backend, done = deliver(folder, {})
    assert not done
    assert backend.stored == {}
    (message,) = [record.getMessage() for record in logged]
    assert "positions.json has format 2" in message
    assert "upgrade tallystick" in message
    assert "Traceback" not in message
    assert all(record.exc_info is None for record in logged)
    assert {name: data for name, data in read_files(folder).items() if name in files and name != "attempt"} == {
        name: data for name, data in files.items() if name != "attempt"
    }


def test_an_application_beside_newer_positions_records_on_and_says_that_nothing_was_settled(home: Path) -> None:
    folder = Folder(home).open()
    folder.positions.write_bytes(with_checksum(b'{"tallystick":2}'))
    metrics = Metrics(home=home, exit_timeout_seconds=0.1)
    with complaints():
        metrics.increment("a")
        assert metrics.flush(timeout_seconds=0.1) is False
        metrics.close()
    (segment,) = folder.segment_ids()
    (line,) = folder.segment(segment).read_bytes().splitlines()[1:]
    assert line.endswith(b'"counter","a",1]')
