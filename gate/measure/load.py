"""A closed load loop: so many users at once, each sending its requests one after the other."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gate.measure.latency import settled_heap
from gate.model import quantile

Request = Callable[[int, int], Awaitable[bool | None]]
"""Sends request `index` of user `user`; False or an exception makes it an error."""


@dataclass
class LoadTestMetrics:
    """What a load run measured. Latencies in ms, of successful requests and errors alike."""

    users: int
    latencies: list[float] = field(default_factory=list[float])
    errors: int = 0
    first_error: str = ""
    """The first exception as text, so that a failing assertion can say what went wrong."""
    duration: float = 0.0
    """Seconds from the first request to the last answer."""

    @property
    def total(self) -> int:
        """Requests sent."""
        return len(self.latencies)

    @property
    def error_rate(self) -> float:
        """Errors per request, 0 to 1."""
        return self.errors / self.total

    @property
    def throughput(self) -> float:
        """Successful requests per second: fast failures are not throughput."""
        return (self.total - self.errors) / self.duration

    @property
    def p50(self) -> float:
        """Median latency in ms."""
        return quantile(sorted(self.latencies), 0.50)

    @property
    def p95(self) -> float:
        """95th percentile of the latency in ms."""
        return quantile(sorted(self.latencies), 0.95)

    @property
    def p99(self) -> float:
        """99th percentile of the latency in ms."""
        return quantile(sorted(self.latencies), 0.99)


async def drive(request: Request, users: int, requests: int, repeat: int = 1) -> LoadTestMetrics:
    """Let `users` concurrent users send `requests` requests each, and time every one.

    All of it is done `repeat` times, one after the other, so that few users give many measurements.

    Raises:
        ValueError: there is nothing to send.
    """
    if min(users, requests, repeat) < 1:
        raise ValueError("measure.load: users, requests and repeat must be at least 1")
    metrics = LoadTestMetrics(users)

    async def user(number: int) -> None:
        for index in range(requests):
            started = time.perf_counter_ns()
            try:
                good = await request(number, index) is not False
            except Exception as error:  # whatever a request raises is an error of the load run
                good = False
                metrics.first_error = metrics.first_error or f"{type(error).__name__}: {error}"
            metrics.latencies.append((time.perf_counter_ns() - started) / 1e6)
            metrics.errors += not good

    with settled_heap():
        begun = time.perf_counter()
        for _ in range(repeat):
            await asyncio.gather(*(user(number) for number in range(users)))
        metrics.duration = time.perf_counter() - begun
    return metrics
