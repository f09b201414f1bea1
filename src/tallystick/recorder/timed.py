"""Timing a block or a function. A `__slots__` class: `@contextmanager` costs one and a half times as much."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from tallystick.errors import SettingsError
from tallystick.recorder.draft import kept
from tallystick.values import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

P = ParamSpec("P")
R = TypeVar("R")


_open: ContextVar[tuple[tuple[Timed, float], ...]] = ContextVar("tallystick_timed", default=())
"""The blocks that this thread, task or greenlet is in, with their starts: a timer may be shared, a use never is."""


class Timed:
    """What `metrics.timed(…)` gives: a context manager, and a decorator for sync, async and generator functions.

    A block or call that raises is timed, too. A generator is timed from its first step to its end. As a context
    manager without a name it takes the name of the code it stands in, `<module>.<function>`, as the decorator does.
    One may be kept and used by many threads and tasks at once, and within itself.
    """

    __slots__ = ("_last", "_name", "_record", "_tags", "_use_ms")

    def __init__(
        self,
        record: Callable[[str, float, Mapping[str, object] | Iterable[str] | None, bool], None],
        name: str | None,
        tags: Mapping[str, object] | Iterable[str] | None,
        use_ms: bool,
    ) -> None:
        self._record = record
        self._name = name
        self._tags = tags
        self._use_ms = use_ms

    def __enter__(self) -> Self:
        if self._name is None:
            self._name = _caller()
        self._last = started = perf_counter()
        _open.set((*_open.get(), (self, started)))
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        ended, uses = perf_counter(), _open.get()
        started = self._last  # when the block ends in another context than it began in, as an async fixture's may
        for index in range(len(uses) - 1, -1, -1):
            if uses[index][0] is self:
                started = uses[index][1]
                _open.set(uses[:index] + uses[index + 1 :])
                break
        self._record("" if self._name is None else self._name, ended - started, self._tags, self._use_ms)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Raises `SettingsError` for what cannot be timed so: a class, a property, a class method's object."""
        given: Any = function
        if isinstance(given, staticmethod):
            return staticmethod(self(given.__func__))
        if isinstance(given, type | classmethod | property) or not callable(given):
            raise SettingsError(f"timed: {shown(given)} cannot be timed; {_remedy(given)}")
        name = _name_of(function) if self._name is None else self._name
        record, tags, use_ms = self._record, kept(self._tags), self._use_ms

        def done(started: float) -> None:
            record(name, perf_counter() - started, tags, use_ms)

        told = inspect.isroutine(function) or isinstance(function, functools.partial)
        return functools.wraps(function)(_timing(function, function if told else type(function).__call__, done))


def _timing(function: Any, kind: Any, done: Callable[[float], None]) -> Any:
    """A function of the same sort that calls this one and says `done` with the time at which it was called."""
    timed: Any

    if inspect.iscoroutinefunction(kind):

        async def timed(*args: Any, **kwargs: Any) -> Any:
            started = perf_counter()
            try:
                return await function(*args, **kwargs)
            finally:
                done(started)

    elif inspect.isasyncgenfunction(kind):

        async def timed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            started = perf_counter()
            try:
                async with aclosing(function(*args, **kwargs)) as inner:
                    step = inner.asend(None)
                    while True:
                        try:
                            item = await step
                        except StopAsyncIteration:
                            return
                        try:
                            step = inner.asend((yield item))
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # thrown in by the caller, for the function to deal with
                            step = inner.athrow(error)
            finally:
                done(started)

    elif inspect.isgeneratorfunction(kind):

        def timed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            started = perf_counter()
            try:
                return (yield from function(*args, **kwargs))
            finally:
                done(started)

    else:

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                done(started)

    return timed


def _remedy(given: object) -> str:
    if isinstance(given, type):
        return "decorate its methods, or write `with metrics.timed():` where it is made"
    if isinstance(given, classmethod | property):
        return f"write @metrics.timed() below @{type(given).__name__}, directly above the function"
    return "decorate a function"


def _name_of(function: Any) -> str:
    """`<module>.<function>`; of a partial or another callable object, that of its type."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__.replace('<locals>.', '')}"


def _caller() -> str:
    """`<module>.<function>` of the code whose `with` statement this is."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    if frame is None:
        return "unknown"
    function = frame.f_code.co_qualname.replace("<locals>.", "")
    module = frame.f_globals.get("__name__", "unknown")
    return module if function == "<module>" else f"{module}.{function}"
