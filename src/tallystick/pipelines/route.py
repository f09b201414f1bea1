"""From the settings to where records go: a spool and who delivers it, or an inline backend.

The agent and the backends are imported here when a recorder is made, so that `import tallystick` does not load them.
Not at the first record: a child forked while another thread imports would wait for the end of that import for ever.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tallystick import forks, plugins, threads
from tallystick.errors import QueryError, SettingsError, SpoolError, SpoolTooNew
from tallystick.interruptions import from_outside
from tallystick.masking import hider
from tallystick.pipelines import description
from tallystick.pipelines.inline import Inline
from tallystick.pipelines.naming import own_file, pipeline_of
from tallystick.pipelines.targets import Target, target_of
from tallystick.queries import Query, Series
from tallystick.records import Record, Tags
from tallystick.settings import Settings, unknown_environment
from tallystick.spool import disk
from tallystick.spool.folder import Folder
from tallystick.spool.positions import Positions
from tallystick.spool.spool import Spool
from tallystick.waiting import Wait

if TYPE_CHECKING:
    from tallystick.agent.agent import Agent
    from tallystick.agent.chores import Chore
    from tallystick.backends.base import Backend


logger = logging.getLogger("tallystick.recorder")


class Route(Protocol):
    """`spool` takes lines; the rest is for the whole way."""

    @property
    def spool(self) -> Spool | Inline: ...
    @property
    def path(self) -> Path | None: ...
    @property
    def pipeline(self) -> str: ...
    def query(self, query: Query) -> list[Series]: ...
    def records(self, query: Query, newest: int | None) -> Iterator[Record]: ...
    def flush(self, timeout_seconds: float) -> bool: ...
    def close(self, timeout_seconds: float) -> None: ...
    def begin_exit(self, timeout_seconds: float) -> None: ...
    def end_exit(self, timeout_seconds: float) -> None: ...


def make_route(settings: Settings, backend: object, tags: Tags) -> Route:
    """`backend` is what the caller gave: None, a URL or an object; `tags` are those of every record. Raises
    `SettingsError`.
    """
    for sentence in unknown_environment(misspelt=True):
        logger.warning("%s; `tallystick config show` lists the settings", sentence)
    given = settings.backend_url if backend is None else backend
    if isinstance(given, str):
        target: Backend | None = plugins.backend_from_url(given)
    else:
        target = None if given is None else _checked(given)
    if target is not None and getattr(target, "inline", False):
        return InlineRoute(target, settings, given if isinstance(given, str) else None, tags)
    if (channel := settings.channel_url) is not None:
        folder = Folder(settings.home, pipeline_of(settings, plugins.channel_from_url(channel).address))
        asks = given if isinstance(given, str) else target
        return SpoolRoute(settings, target_of(folder, settings, channel), None, tags, asks)
    folder = Folder(settings.home, pipeline_of(settings, None if target is None else target.address))
    if isinstance(given, str):
        return SpoolRoute(settings, target_of(folder, settings, given), None, tags)
    if target is not None:
        description.refuse(folder, target.address, own_file(folder))
        return SpoolRoute(settings, Target(folder, None, target.address), target, tags)
    return SpoolRoute(settings, target_of(folder, settings), None, tags)


def checked_seconds(timeout_seconds: object) -> float:
    """How long a caller wants to wait. Raises `SettingsError` for what is no time."""
    known = isinstance(timeout_seconds, int | float) and not isinstance(timeout_seconds, bool)
    if not known or not timeout_seconds >= 0:  # type: ignore[operator]
        raise SettingsError(f"timeout_seconds: {timeout_seconds!r:.80} must be a number of seconds, 0 or more")
    return float(timeout_seconds)  # type: ignore[arg-type]


def _agent_room() -> tuple[Callable[..., Agent], Callable[[Settings, Folder, Backend], list[Chore]]]:
    from tallystick.agent.chores import chores_of
    from tallystick.pipelines.agents import spool_agent

    return spool_agent, chores_of


def _records(backend: Any, query: Query, newest: int | None) -> Iterator[Record]:
    if not hasattr(backend, "records"):
        raise QueryError(f"{backend.address} cannot give records back; ask the database itself")
    found: Iterator[Record] = backend.records(query, newest=newest)
    return found


def _checked(backend: object) -> Any:
    missing = [name for name in ("address", "open", "write", "query", "close") if not hasattr(backend, name)]
    if missing or isinstance(backend, type):
        lack = "it is a class, not an object" if isinstance(backend, type) else f"it has no {', '.join(missing)}"
        raise SettingsError(
            f"backend: {backend!r:.80} is no URL and no backend ({lack}); subclass tallystick.backends.BaseBackend"
        )
    return backend


class InlineRoute:
    """Recording is writing: nothing to wait for, nothing to deliver."""

    def __init__(self, backend: Backend, settings: Settings, url: str | None, tags: Tags) -> None:
        self._backend = backend
        self.pipeline = settings.pipeline
        self.spool = Inline(backend, settings.app, settings.host, tags, hider(url))

    def query(self, query: Query) -> list[Series]:
        return self._backend.query(query)

    @property
    def path(self) -> Path | None:
        return None

    def records(self, query: Query, newest: int | None) -> Iterator[Record]:
        return _records(self._backend, query, newest)

    def flush(self, timeout_seconds: float) -> bool:
        return True

    def close(self, timeout_seconds: float) -> None:
        self.spool.close()

    def begin_exit(self, timeout_seconds: float) -> None:
        """Nothing is under way."""

    end_exit = close


class SpoolRoute:
    """Recording is appending to the spool; a thread of this process delivers it, if it is elected."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        backend: Backend | None,
        tags: Tags,
        asks: str | Backend | None = None,
    ) -> None:
        """`asks` is the database that an agent behind a channel delivers to, a URL or an object."""
        self.folder = folder = target.folder
        self.target = target
        self._asks = asks
        self.pipeline = target.name
        self._settings = settings
        self._object = backend
        self._opened_by = 0
        self._stood_in = 0
        self._ended = False
        self._dropped: tuple[object, int] = (None, 0)
        self._agent: Agent | None = None
        self._asking: Backend | None = None
        self._lock = threads.Lock()
        if settings.deliver == "thread":
            _agent_room()
        self.spool = Spool(
            folder,
            app=settings.app,
            host=settings.host,
            tags=tags,
            segment_bytes=settings.segment_bytes,
            limit_bytes=settings.spool_limit_bytes,
            when_full=settings.when_full,
            block_timeout_seconds=settings.block_timeout_seconds,
            fsync=settings.fsync,
            on_open=self._start_agent,
        )
        self._told = settings.backend is not None or settings.channel is not None or backend is not None
        if self._told:
            self._describe()
        folder.keep_reserve()
        forks.inherited(self)

    def _describe(self) -> None:
        """Say where the records of this pipeline go, unless that is known. Raises `SettingsError` when another process
        has just said something else.
        """
        target, own = self.target, own_file(self.folder)
        by: description.By = "object" if self._object is not None else "folder" if target.address == own else "url"
        if not description.read(self.folder).backend:
            url = target.url if by == "url" else None
            description.first(self.folder, description.facts(target.address, by, url))
            description.refuse(self.folder, target.address, own)

    def _backend(self) -> Backend:
        """A backend of our own to write to or to ask; the caller's object, when that is what we were given."""
        return self._object if self._object is not None else self.target.backend()

    def _answering(self) -> Backend:
        """The backend that answers questions. Raises `QueryError` where it is not known."""
        if not self.target.forwards:
            return self._backend()
        if self._asks is None:
            where = "set `backend` to the database that the agent behind it delivers to"
            raise QueryError(f"the records go into {self.target.address}; {where}")
        found: Backend = plugins.backend_from_url(self._asks) if isinstance(self._asks, str) else self._asks
        return found

    def _start_agent(self) -> None:
        """Stand for election, once in a process: at its first attempt to record, and when records wait that it is asked
        about, whether or not it recorded any.
        """
        if self._stood_in == os.getpid() or self._ended:
            return
        self._stood_in = os.getpid()
        try:
            self._start()
        except Exception as error:  # the record that brought us here is to be stored all the same
            if from_outside(error):
                raise
            logger.exception("no delivery from this process; its records wait in %s", self.folder.path)

    def _stand_if_records_wait(self) -> None:
        if self._stood_in != os.getpid() and self.folder.segment_ids():
            self._start_agent()

    def _start(self) -> None:
        if not self._told:  # a default: it follows what others have said meanwhile
            self.target = target_of(self.folder, self._settings)
            if not self.target.unknown:
                self._describe()
        description.tell(self.folder, self._settings)
        if self._settings.deliver != "thread":
            return
        if self.target.unknown:
            logger.warning("pipeline %s is delivered by others: %s", self.target.name, self.target.unknown)
            return
        if self._object is not None and self._opened_by not in (0, os.getpid()):
            return  # the object's connection is our parent's: it delivers for us
        settings = description.in_force(self.folder, self._settings)
        interval = settings.fsync_interval_seconds if settings.fsync == "interval" else None
        self._opened_by = os.getpid()
        backend = self._backend()
        agent, chores_of = _agent_room()
        self._agent = agent(
            self.folder,
            backend,
            mode="thread",
            batch_records=settings.batch_records,
            fsync_seconds=interval,
            dead_limit_bytes=settings.dead_limit_bytes,
            chores=chores_of(settings, self.folder, backend),
            url=self.target.url,
            guarded=True,
        )
        self._agent.start()

    @property
    def path(self) -> Path | None:
        return self.folder.path

    def query(self, query: Query) -> list[Series]:
        return self._asked().query(query)

    def records(self, query: Query, newest: int | None) -> Iterator[Record]:
        return _records(self._asked(), query, newest)

    def _asked(self) -> Backend:
        self._stand_if_records_wait()
        asking = self._asking
        if asking is None:
            opened = self._answering()
            opened.open()  # under no lock: of two threads or greenlets one closes its own again
            with self._lock:
                asking = self._asking = self._asking or opened
            if opened is not asking and opened is not self._object and opened is not self._asks:
                opened.close()
        return asking

    def flush(self, timeout_seconds: float) -> bool:
        """Wait for what this process recorded, and for what dead processes left."""
        self._stand_if_records_wait()
        wait = Wait(timeout_seconds)
        asked = self.spool.written()
        targets = asked + self._left_by_the_dead(asked)
        while targets:
            if self._agent is not None:
                self._agent.wake()
            try:
                at = Positions(self.folder).at
            except SpoolTooNew:  # whoever wrote them delivers; the agent's log says what to do
                return False
            targets = [(s, end) for s, end in targets if at.get(s, 0) < end and self.folder.segment(s).exists()]
            if targets and wait.over:
                return False
            if targets:
                wait.sleep(0.01)
        lost, dropped = self.spool.lost(asked), self._newly_dropped()
        return not lost and not dropped

    def _left_by_the_dead(self, ours: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Segments without a living writer, and their sizes. What this user may not read, no agent of his delivers."""
        known, found = {identity for identity, _ in ours}, []
        for identity in self.folder.segment_ids():
            path = self.folder.segment(identity)
            with contextlib.suppress(OSError, SpoolError):
                if identity not in known and path.is_file() and not disk.is_locked(path):
                    found.append((identity, path.stat().st_size))
        return found

    def _newly_dropped(self) -> bool:
        """Whether a record of this process was dropped since this was asked last."""
        tally = self.spool.tally
        before = self._dropped[1] if self._dropped[0] is tally else 0
        now = sum(count for (what, _, _), count in list(tally.counts.items()) if what == "dropped")
        self._dropped = (tally, now)
        return now > before

    def close(self, timeout_seconds: float) -> None:
        """Seal the spool, let the agent finish, and let go of everything."""
        self.spool.close()
        self._finish(timeout_seconds)
        self.end_exit(timeout_seconds)

    def _finish(self, timeout_seconds: float) -> None:
        self._stand_if_records_wait()
        self._ended = True
        if self._agent is not None:
            self._agent.finish(timeout_seconds)

    def begin_exit(self, timeout_seconds: float) -> None:
        """Let the agent finish, without waiting for it. What is recorded from now on stays in the spool."""
        self.spool.rest()
        self._finish(timeout_seconds)

    def end_exit(self, timeout_seconds: float) -> None:
        if self._agent is not None:
            self._agent.stop(timeout_seconds)
        with self._lock:
            if self._asking is not None and self._asking not in (self._object, self._asks):
                with contextlib.suppress(Exception):
                    self._asking.close()
            self._asking = None

    def forget_parent(self) -> None:
        """In a forked child: a connection for questions and a lock that another thread may hold are the parent's."""
        forks.leave_alone(self._asking)
        self._asking = self._agent = None
        self._lock = threads.Lock()
