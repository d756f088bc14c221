"""A closed load loop: so many users at once, each sending its requests one after the other.

A user wants the next answer as soon as it has the last one. Its latency begins then and not when the event
loop gets round to sending the request, so that by Little's law users = throughput x mean latency.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from pytest_regression_gate.clock import Clock
from pytest_regression_gate.conditions import Conditions, loop_lag, p99_of
from pytest_regression_gate.latency import settled_heap
from pytest_regression_gate.metrics import LoadRun, quantile

Request = Callable[[int, int], Awaitable[bool | None]]
"""Sends request `index` of user `user`; False or an exception makes it an error."""

_WARM_UP: Final = 10
"""Users and requests of each that warm up, at most."""
_CALIBRATION: Final = 20
"""Empty requests per user that measure the driver itself, at most."""


_LONGEST_ERROR: Final = 300


@dataclass
class LoadTestMetrics:
    """What a load run measured. Latencies in ms, of successful requests and errors alike."""

    users: int
    latencies: list[float] = field(default_factory=list[float])
    errors: int = 0
    """Of all requests, those of the warm-up included."""
    first_error: str = ""
    """The first exception as text, so that a failing assertion can say what went wrong."""
    duration: float = 0.0
    """Seconds from the first request to the last answer, without the warm-up."""
    warm_up: int = 0
    """Requests before the measured ones: not among the latencies."""
    warm_up_errors: int = 0
    run: LoadRun | None = None
    """How the load was driven; None if nobody watched."""

    @property
    def total(self) -> int:
        """Measured requests."""
        return len(self.latencies)

    @property
    def error_rate(self) -> float:
        """Errors per request, 0 to 1."""
        return self.errors / (self.total + self.warm_up)

    @property
    def throughput(self) -> float:
        """Successful requests per second: fast failures are not throughput."""
        return (self.total - self.errors + self.warm_up_errors) / self.duration

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

    All of it is done `repeat` times, one after the other, so that few users give many measurements. The heap
    should be settled (`settled_heap`): a collection would be in somebody's latency.

    Raises:
        ValueError: there is nothing to send.
    """
    if min(users, requests, repeat) < 1:
        raise ValueError("measure.load: users, requests and repeat must be at least 1")
    metrics = LoadTestMetrics(users)

    async def user(number: int, wanted: int) -> None:
        for index in range(requests):
            await asyncio.sleep(0)  # whoever waits already comes first
            try:
                good = await request(number, index) is not False
            except Exception as error:  # whatever a request raises is an error of the load run
                good = False
                metrics.first_error = metrics.first_error or f"{type(error).__name__}: {error}"
            answered = Clock.perf_counter_ns()
            metrics.latencies.append((answered - wanted) / 1e6)
            metrics.errors += not good
            wanted = answered

    begun = Clock.perf_counter()
    for _ in range(repeat):
        wanted = Clock.perf_counter_ns()
        await asyncio.gather(*(user(number, wanted) for number in range(users)))
    metrics.duration = Clock.perf_counter() - begun
    return metrics


async def measure_load(
    request: Request,
    users: int,
    requests: int,
    repeat: int = 1,
    *,
    remote: bool = False,
    warming_up: AbstractContextManager[None] | None = None,
) -> LoadTestMetrics:
    """Warm up, then `drive` and watch what else happened meanwhile.

    The warm-up is a part of the load: its first users and their first requests, at most ten by ten.

    Args:
        request: sends one request.
        users: how many at once.
        requests: of each user.
        repeat: how often all of it is done.
        remote: the service runs in another process. Then this process is the generator, and its CPU time
            and the punctuality of its event loop say whether it kept up. Otherwise both belong to the
            service too; what the driver costs is measured with empty requests instead.
        warming_up: entered for the warm-up alone.

    Raises:
        ValueError: there is nothing to send.
    """
    with warming_up or nullcontext():
        warm_up = await drive(request, min(users, _WARM_UP), min(requests, _WARM_UP))
    async with loop_lag() if remote else nullcontext(list[float]()) as late:
        with settled_heap(), Conditions() as seen:  # settling is no part of what is watched
            cpu = Clock.process_time()
            metrics = await drive(request, users, requests, repeat)
            cpu = Clock.process_time() - cpu
    metrics.warm_up, metrics.warm_up_errors = warm_up.total, warm_up.errors
    metrics.errors += warm_up.errors
    metrics.first_error = warm_up.first_error or metrics.first_error
    own = cpu if remote else await _cost_of_driving(users, requests) * metrics.total
    metrics.run = LoadRun(
        users=users,
        requests=metrics.total,
        errors=metrics.errors,
        error=" ".join(metrics.first_error.split())[:_LONGEST_ERROR],
        seconds=round(metrics.duration, 4),
        warm_up=warm_up.total,
        remote=remote,
        generator=round(own / metrics.duration, 4),
        lag=p99_of(late),
        steal=seen.steal,
        waited=seen.waited,
        others=seen.others,
    )
    return metrics


async def _cost_of_driving(users: int, requests: int) -> float:
    """CPU seconds that the driver itself needs per request: those of a request that only yields once."""

    async def nothing(user: int, index: int) -> None:
        await asyncio.sleep(0)

    costs: list[float] = []
    with settled_heap():
        for _ in range(3):
            cpu = Clock.process_time()  # a busy machine makes the driver wait, and not dearer
            run = await drive(nothing, users, min(requests, _CALIBRATION))
            costs.append((Clock.process_time() - cpu) / run.total)
    return min(costs)
