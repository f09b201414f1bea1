"""Timing a block or a function. A `__slots__` class: `@contextmanager` costs one and a half times as much."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from tallystick.recorder.draft import kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

P = ParamSpec("P")
R = TypeVar("R")


class Timed:
    """What `metrics.timed(…)` gives: a context manager, and a decorator for sync, async and generator functions.

    A block or call that raises is timed, too. A generator is timed from its first step to its end. As a context
    manager without a name it takes the name of the code it stands in, `<module>.<function>`, as the decorator does.
    """

    __slots__ = ("_name", "_record", "_started", "_tags", "_use_ms")

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
        self._started = perf_counter()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        name = "" if self._name is None else self._name
        self._record(name, perf_counter() - self._started, self._tags, self._use_ms)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        name = _name_of(function) if self._name is None else self._name
        how = self._record, name, kept(self._tags), self._use_ms
        told = inspect.isroutine(function) or isinstance(function, functools.partial)
        kind: Any = function if told else type(function).__call__
        timed: Any

        if inspect.iscoroutinefunction(kind):

            async def timed(*args: P.args, **kwargs: P.kwargs) -> Any:
                with Timed(*how):
                    return await function(*args, **kwargs)  # type: ignore[misc]

        elif inspect.isasyncgenfunction(kind):

            async def timed(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
                with Timed(*how):
                    inner: Any = function(*args, **kwargs)
                    async with aclosing(inner):
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

        elif inspect.isgeneratorfunction(kind):

            def timed(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
                with Timed(*how):
                    return (yield from function(*args, **kwargs))  # type: ignore[misc]

        else:

            def timed(*args: P.args, **kwargs: P.kwargs) -> Any:
                with Timed(*how):
                    return function(*args, **kwargs)

        return functools.wraps(function)(timed)


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
