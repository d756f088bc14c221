"""Memory and CPU of this process, or of a service, while a block runs."""

from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import psutil

from pytest_regression_gate.clock import Clock, Threads

_MB: Final = 1e6
_INTERVAL: Final = 0.01
"""Seconds between two looks at the memory; CPU time is a counter and needs no sampling."""
_INTERVAL_OF_A_SERVICE: Final = 0.05
"""The same of all processes of a service, which have to be found each time."""
_STATES: Final = 4
"""user, system, and both of children that have ended: of a CPU time in `psutil`."""


class ResourceUsage:
    """A context manager that watches this process, or a service: a process with all that it started.

    Peak memory is sampled by a thread and so can miss a spike shorter than 10 ms; first and last
    value are always taken. CPU is the process's CPU time over wall time and all cores of the machine:
    1.0 means that every core was busy for this process. It needs no minimum number of samples.
    Of a service both are sums over its processes, looked at every 50 ms; shared memory counts in each.

    Args:
        pid: the first process of a service; None: this process.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)
        self._service = pid is not None
        self._interval = _INTERVAL_OF_A_SERVICE if self._service else _INTERVAL
        self._running, self._watched = Threads.lock(), Threads.lock()
        """Held while the block runs, and while its memory is watched."""
        self.peak = 0.0
        """Highest resident memory in MB."""
        self.growth = 0.0
        """Resident memory at the end minus at the beginning, in MB; may be negative."""
        self.cpu: float | None = None
        """Mean share of the machine's CPU, 0 to 1; None if the block was too short for the clock."""
        self.samples = 0
        """How often memory was read."""

    def __enter__(self) -> Self:
        self._before = self._look()
        self._cpu = self._cpu_time()
        self._begun = Clock.perf_counter()
        self._running.acquire()
        self._watched.acquire()
        Threads.start(self._watch, ())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.release()
        self._watched.acquire()
        wall = Clock.perf_counter() - self._begun
        if wall > 0:
            self.cpu = min(1.0, (self._cpu_time() - self._cpu) / (wall * (psutil.cpu_count() or 1)))
        self.growth = self._look() - self._before

    def _look(self) -> float:
        resident = sum(self._resident(process) for process in self._processes()) / _MB
        self.peak = max(self.peak, resident)
        self.samples += 1
        return resident

    def _processes(self) -> list[psutil.Process]:
        if not self._service:
            return [self._process]
        return [self._process, *self._process.children(recursive=True)]

    def _resident(self, process: psutil.Process) -> int:
        try:
            return process.memory_info().rss
        except psutil.NoSuchProcess:
            if process == self._process:
                raise
            return 0  # a worker that has just ended

    def _cpu_time(self) -> float:
        """Seconds so far. What a service's workers used is with their parent when they have ended."""
        if not self._service:
            return Clock.process_time()
        total = 0.0
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:_STATES])
        return total

    def _watch(self) -> None:
        try:
            while not self._running.acquire(timeout=self._interval):
                with suppress(psutil.NoSuchProcess):  # the end of the block says so
                    self._look()
        finally:
            self._watched.release()
