"""Memory and CPU of this process while a block runs."""

from types import TracebackType
from typing import Final, Self

import psutil

from pytest_regression_gate.clock import Clock, Threads

_MB: Final = 1e6
_INTERVAL: Final = 0.01
"""Seconds between two looks at the memory; CPU time is a counter and needs no sampling."""


class ResourceUsage:
    """A context manager that watches this process.

    Peak memory is sampled by a thread and so can miss a spike shorter than 10 ms; first and last
    value are always taken. CPU is the process's CPU time over wall time and all cores of the machine:
    1.0 means that every core was busy for this process. It needs no minimum number of samples.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
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
        self._cpu = Clock.process_time()
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
            self.cpu = min(1.0, (Clock.process_time() - self._cpu) / (wall * (psutil.cpu_count() or 1)))
        self.growth = self._look() - self._before

    def _look(self) -> float:
        resident = self._process.memory_info().rss / _MB
        self.peak = max(self.peak, resident)
        self.samples += 1
        return resident

    def _watch(self) -> None:
        try:
            while not self._running.acquire(timeout=_INTERVAL):
                self._look()
        finally:
            self._watched.release()
