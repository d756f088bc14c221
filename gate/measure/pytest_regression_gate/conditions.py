"""What else happened on the machine while a load ran, so that it can be judged as a measurement."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import psutil

from pytest_regression_gate.clock import Clock
from pytest_regression_gate.metrics import quantile

_RESOLVED: Final = 0.25
"""Seconds. The kernel counts CPU time in steps of 10 ms: in less than this a single step is a large share."""
_TICK: Final = 0.005
"""Seconds between two looks at the event loop's punctuality."""
_OF_THIS_THREAD: Final = Path("/proc/thread-self/schedstat")


class _Counters(NamedTuple):
    """Seconds, ever growing."""

    wall: float
    machine: float
    """CPU time of all cores, idle included."""
    idle: float
    stolen: float | None
    """Taken by the hypervisor; None if the system does not count it."""
    ours: float
    """CPU time of this process and its children."""
    waited: float | None
    """How long this thread could run and got no core; None if the system does not count it."""

    @classmethod
    def now(cls) -> Self:
        times = psutil.cpu_times()._asdict()
        for counted_twice in ("guest", "guest_nice"):
            times.pop(counted_twice, None)
        return cls(
            wall=Clock.perf_counter(),
            machine=sum(times.values()),
            idle=times["idle"] + times.get("iowait", 0.0),
            stolen=times.get("steal"),
            ours=_cpu_time_of_tree(),
            waited=_waited(),
        )


class Conditions:
    """A context manager that looks at the machine before and after a block.

    All shares are 0 to 1, and None if the system does not say or the block was shorter than 0.25 s.
    """

    def __init__(self) -> None:
        self.steal: float | None = None
        """Share of all cores that the hypervisor gave to other machines."""
        self.others: float | None = None
        """Share of all cores that was busy for processes that this one did not start."""
        self.waited: float | None = None
        """Share of the time in which this thread could run and got no core (Linux)."""

    def __enter__(self) -> Self:
        self._before = _Counters.now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        before, after = self._before, _Counters.now()
        wall, machine = after.wall - before.wall, after.machine - before.machine
        if wall < _RESOLVED or machine <= 0:
            return
        stolen = None
        if after.stolen is not None and before.stolen is not None:
            stolen = after.stolen - before.stolen
            self.steal = _share(stolen, machine)
        busy = machine - (after.idle - before.idle) - (stolen or 0.0)
        self.others = _share(busy - (after.ours - before.ours), machine)
        if after.waited is not None and before.waited is not None:
            self.waited = _share(after.waited - before.waited, wall)


@asynccontextmanager
async def loop_lag() -> AsyncGenerator[list[float]]:
    """Record how late the event loop wakes a task that sleeps 5 ms at a time, in ms, while the block runs."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            due = Clock.perf_counter() + _TICK
            await asyncio.sleep(_TICK)
            late.append(max(0.0, Clock.perf_counter() - due) * 1e3)

    ticker = asyncio.create_task(tick())
    try:
        yield late
    finally:
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker


def p99_of(late: list[float]) -> float | None:
    """The 99th percentile of what `loop_lag` recorded, in ms; None if the block was too short for it."""
    return round(quantile(sorted(late), 0.99), 3) if late else None


def _share(part: float, whole: float) -> float:
    """Counters are read one after the other: a share may come out a little below 0 or above 1."""
    return round(min(1.0, max(0.0, part / whole)), 4)


def _cpu_time_of_tree() -> float:
    process = psutil.Process()
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):  # it ended meanwhile: its time is its parent's by now
            times = member.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _waited() -> float | None:
    try:
        return int(_OF_THIS_THREAD.read_text().split()[1]) / 1e9  # run time, waiting time in ns, slices
    except (OSError, IndexError, ValueError):
        return None
