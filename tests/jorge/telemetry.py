"""What the API knows of its own performance."""

import time
from collections import deque
from dataclasses import dataclass
from statistics import fmean

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WINDOW = 1000


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """Requests since the start; times in ms over the latest 1,000."""

    requests: int
    server_errors: int
    mean_ms: float
    slowest_ms: float


class RequestLog:
    """Counts requests and keeps the duration of the latest ones: bounded, however long it runs."""

    def __init__(self) -> None:
        self._requests = 0
        self._server_errors = 0
        self._durations: deque[float] = deque(maxlen=_WINDOW)

    def add(self, status: int, milliseconds: float) -> None:
        """Count one request."""
        self._requests += 1
        self._server_errors += status >= 500
        self._durations.append(milliseconds)

    def summary(self) -> RequestSummary:
        """What was counted so far."""
        return RequestSummary(
            requests=self._requests,
            server_errors=self._server_errors,
            mean_ms=round(fmean(self._durations), 3) if self._durations else 0.0,
            slowest_ms=round(max(self._durations, default=0.0), 3),
        )


class RequestTimer:
    """ASGI middleware that feeds a request log. An exception counts as a server error."""

    def __init__(self, app: ASGIApp, log: RequestLog):
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, watch)
        finally:
            self._log.add(status, (time.perf_counter() - started) * 1e3)
