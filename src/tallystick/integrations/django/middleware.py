"""Each request as one timing, `http.request`: method, route template (never the raw path) and status as tags.

A request that no route matches has the route `unmatched`. An exception that leaves the view is counted under
`http.exception` by its class. Works in synchronous and asynchronous stacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from tallystick.integrations.django.recording import metrics

UNMATCHED: Final = "unmatched"
_METHODS: Final = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}


class MetricsMiddleware:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._waits = iscoroutinefunction(get_response)
        if self._waits:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if self._waits:
            return self._awaited(request)
        started = time.perf_counter()
        response = self._get_response(request)
        _record(request, response, time.perf_counter() - started)
        return response

    async def _awaited(self, request: Any) -> Any:
        started = time.perf_counter()
        response = await self._get_response(request)
        _record(request, response, time.perf_counter() - started)
        return response

    def process_exception(self, request: Any, exception: Exception) -> None:
        tags = {"route": _route(request), "exception": type(exception).__name__}
        metrics().increment("http.exception", tags=tags)


def _route(request: Any) -> str:
    match = getattr(request, "resolver_match", None)
    return UNMATCHED if match is None else f"/{match.route}"


def _record(request: Any, response: Any, seconds: float) -> None:
    method = request.method if request.method in _METHODS else "OTHER"
    tags = {"method": method, "route": _route(request), "status": str(response.status_code)}
    metrics().timing("http.request", seconds, tags=tags)
