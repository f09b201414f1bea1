"""What a backend makes of a bad network, and of a server that dies: none lost, none twice.

    class TestPostgresqlFaults(FaultContract):
        server = "postgresql"
        def make_backend(self, port: int, timeout_seconds: float) -> Backend: ...

    class TestPostgresqlCrash(CrashContract):
        server = "postgresql"
        def make_backend(self, port: int, timeout_seconds: float) -> Backend: ...

The real server stands behind `tests/proxy.py`, which cuts, swallows, resets and trickles; the one that is killed is a
server of the test's own, and `port` is its real one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from tests.proxy import FaultProxy
from tests.services import kill, restart, service

from tallystick.backends.base import Backend, Readable
from tallystick.errors import Unavailable
from tallystick.queries import Query
from tallystick.records import Batch, Record
from tallystick.testing import make_batch

TIMEOUT_SECONDS = 2.0
CUTS = 1_000


class OnServer:
    """Give `server` and `make_backend`; the rest is as for `BackendContract`."""

    server: ClassVar[str]

    def make_backend(self, port: int, timeout_seconds: float) -> Backend:
        """A backend on an empty store of its own, reached by 127.0.0.1:port, with this timeout for connecting and for
        each call. Not yet open."""
        raise NotImplementedError(f"{type(self).__qualname__} must define make_backend(self, port, timeout_seconds)")

    def settle(self, backend: Backend) -> None:
        """Make what was written visible to readers, in a store that takes a moment for it."""

    def tear_down(self, backend: Backend) -> None:
        """Remove the store."""

    def ids(self, backend: Backend) -> list[str]:
        """The ids of all that is stored. A store that does not give records back overrides this."""
        assert isinstance(backend, Readable)
        return [record.id for record in backend.records(Query())]

    def check_stored(self, backend: Backend, *batches: Batch) -> None:
        backend.open()
        self.settle(backend)
        wanted = sorted(record.id for batch in batches for record in batch.records)
        assert sorted(self.ids(backend)) == wanted


class FaultContract(OnServer):
    cuts: ClassVar[int] = CUTS
    """How often a reply is cut (ten times as often with --thorough); less only for a server that is slow in tests."""

    @pytest.fixture
    def proxy(self) -> Iterator[FaultProxy]:
        parts = urlsplit(service(self.server))
        with FaultProxy(parts.hostname or "127.0.0.1", parts.port or 0) as proxy:
            yield proxy

    @pytest.fixture
    def backend(self, proxy: FaultProxy) -> Iterator[Backend]:
        backend = self.make_backend(proxy.port, TIMEOUT_SECONDS)
        backend.open()
        yield backend
        proxy.set_mode("pass")
        proxy.spare_replies()
        backend.open()
        self.tear_down(backend)
        backend.close()

    def test_a_reply_cut_after_the_write_loses_none_and_doubles_none(
        self, backend: Backend, proxy: FaultProxy, thorough: bool
    ) -> None:
        cuts = 10 * self.cuts if thorough else self.cuts
        batches = []
        while proxy.cuts < cuts:
            batches.append(batch := numbered(3))
            proxy.cut_next_reply()
            write_until_stored(backend, batch)
        proxy.spare_replies()
        self.check_stored(backend, *batches)

    def test_a_server_that_never_answers_is_noticed_within_twice_the_timeout(
        self, backend: Backend, proxy: FaultProxy
    ) -> None:
        before, during = numbered(3), numbered(3)
        write_until_stored(backend, before)
        proxy.set_mode("black_hole")
        for _ in range(2):  # on the connection that was open, then on a new one
            began = time.monotonic()
            with pytest.raises((Unavailable, ConnectionError, TimeoutError)):
                write_once(backend, during)
            assert time.monotonic() - began < 2 * TIMEOUT_SECONDS + 0.5
        proxy.set_mode("pass")
        write_until_stored(backend, during)
        self.check_stored(backend, before, during)

    def test_resets_and_refusals_lose_none_and_double_none(self, backend: Backend, proxy: FaultProxy) -> None:
        batches = [numbered(3) for _ in range(6)]
        write_until_stored(backend, batches[0])
        for batch, mode in zip(batches[1:], ("reset", "refuse", "reset", "refuse", "reset"), strict=True):
            proxy.set_mode(mode)  # type: ignore[arg-type]
            with pytest.raises((Unavailable, ConnectionError, TimeoutError)):
                write_once(backend, batch)
            proxy.set_mode("pass")
            write_until_stored(backend, batch)
        self.check_stored(backend, *batches)

    def test_an_answer_of_one_byte_a_second_loses_none_and_doubles_none(
        self, backend: Backend, proxy: FaultProxy
    ) -> None:
        batch = numbered(3)
        proxy.set_mode("trickle")
        relief = threading.Timer(1.5 * TIMEOUT_SECONDS, proxy.set_mode, ["pass"])
        relief.start()
        with contextlib.suppress(Unavailable, ConnectionError, TimeoutError):  # some notice, for some it is just slow
            write_once(backend, batch)
        relief.cancel()
        proxy.set_mode("pass")
        write_until_stored(backend, batch)
        self.check_stored(backend, batch)


class CrashContract(OnServer):
    def kill(self) -> None:
        kill(self.server)

    def restart(self) -> None:
        restart(self.server)

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend = self.make_backend(urlsplit(service(self.server, own=True)).port or 0, TIMEOUT_SECONDS)
        yield backend
        backend.close()

    def test_after_kill_9_of_the_server_and_its_restart_delivery_goes_on_and_nothing_is_twice(
        self, backend: Backend
    ) -> None:
        before, during, after = numbered(50), numbered(50), numbered(50)
        write_until_stored(backend, before)
        self.kill()
        for _ in range(2):  # on the connection that was open, then on a new one
            with pytest.raises((Unavailable, ConnectionError, TimeoutError)):
                write_once(backend, during)
        self.restart()
        write_until_stored(backend, during)
        for batch in (before, after):
            write_until_stored(backend, batch)
        self.check_stored(backend, before, during, after)


_made = 0


def numbered(count: int) -> Batch:
    """Records of moments of their own, as one batch."""
    global _made
    _made += count
    now = time.time_ns()
    return make_batch(*(Record(now + i, "counter", "faults", _made + i, {"plan": "pro"}) for i in range(count)))


def write_once(backend: Backend, batch: Batch) -> None:
    """As the agent does: open, write; what is kept is a failure, and a rejection is a bug."""
    backend.open()
    result = backend.write(batch)
    assert not result.rejected, result
    if result.kept:
        raise Unavailable(next(iter(result.kept.values())))


def write_until_stored(backend: Backend, batch: Batch, tries: int = 20) -> None:
    for _ in range(tries):
        try:
            write_once(backend, batch)
        except (Unavailable, ConnectionError, TimeoutError):
            continue
        return
    raise AssertionError(f"{backend.address} took nothing in {tries} tries")
