"""Latencies of one operation: the recorder and the loop that fills it."""

import gc
import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from pytest_regression_gate.clock import Clock
from pytest_regression_gate.metrics import MAX_SAMPLES, summarise

GROUP_SECONDS: Final = 10e-6
"""Shorter calls are timed in groups that take this long: the timer itself takes up to 0.1 µs."""
_ATTEMPTS: Final = 3
_SURELY: Final = 1024
"""Calls that any clock notices."""
_LONG: Final = 1e-3
"""Seconds that are no accident of the machine: one attempt is enough."""
_AROUND: Final = 4
"""Calls before and after one that tell how fast the machine was then; with two more, more noise was left."""


@dataclass
class PerformanceBaseline:
    """The latencies of one operation in one run, in milliseconds."""

    name: str
    latencies: list[float] = field(default_factory=list[float])
    cpu: float | None = None
    """CPU time per operation of the whole process in ms; None if it was not measured."""

    def add(self, milliseconds: float) -> None:
        """Record one latency."""
        self.latencies.append(milliseconds)

    @property
    def count(self) -> int:
        """How many latencies were recorded."""
        return len(self.latencies)

    @property
    def mean(self) -> float:
        """Arithmetic mean in ms."""
        return self._statistic("mean")

    @property
    def p50(self) -> float:
        """Median in ms."""
        return self._statistic("p50")

    @property
    def p95(self) -> float:
        """95th percentile in ms."""
        return self._statistic("p95")

    @property
    def p99(self) -> float:
        """99th percentile in ms."""
        return self._statistic("p99")

    @property
    def std(self) -> float:
        """Sample standard deviation in ms."""
        return self._statistic("std")

    def _statistic(self, name: str) -> float:
        if not self.latencies:
            raise ValueError(f"{self.name}: nothing was recorded yet")
        return summarise(self.latencies)[name]


def without_spells(latencies: Sequence[float]) -> list[float]:
    """Latencies without the slow spells of the machine: each as a multiple of what is usual around it.

    On shared machines a core is half as fast for some calls or some hundred, at random moments. A round's
    95th percentile then tells whether it met such a spell. The tail of the operation itself strikes single
    calls: it is what stands out of the calls around.

    Args:
        latencies: in the order in which they were measured, at least one.

    Returns:
        As many, in the same unit; their level is the median of all.
    """
    level = median(latencies)
    return [
        level * value / (median(latencies[max(0, place - _AROUND) : place + _AROUND + 1]) or 1.0)
        for place, value in enumerate(latencies)
    ]


def group_of(seconds: float) -> int:
    """How many calls are timed together, if one takes so long."""
    return max(1, math.ceil(GROUP_SECONDS / max(seconds, 1e-9)))


@contextmanager
def settled_heap() -> Generator[None]:
    """Collect rubbish now, and keep what is alive out of the collections to come.

    A test process carries pytest and every imported library; walking through all of that again and
    again is no cost of the operation. What the operation itself leaves behind is still collected.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@dataclass(frozen=True)
class Turns:
    """How often an operation is repeated.

    After the warm-up at least `iterations` turns are measured; short operations go on until `seconds`
    have passed or `most` turns are done, so that their percentiles rest on more than a handful of values.
    A turn is one call, or a group of calls under 10 µs; its latency is that of one call. Without a warm-up,
    or without time beyond the iterations, each call is a turn: who counts calls gets as many as it asks for.
    """

    iterations: int = 10
    warmup: int = 3
    seconds: float = 0.4
    most: int = MAX_SAMPLES

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.warmup < 0:
            raise ValueError("measure: iterations must be at least 1 and warmup at least 0")

    def fill(self, recorder: PerformanceBaseline) -> Iterator[int]:
        """Yield once per turn how many calls of the operation it has.

        A generator serves sync and async operations alike. The caller makes the calls and nothing else
        until it asks for the next turn.
        """
        shortest = math.inf
        for _ in range(self.warmup):
            started = Clock.perf_counter()
            yield 1
            shortest = min(shortest, Clock.perf_counter() - started)
        with settled_heap():
            group = 1
            if self.seconds and self.warmup and shortest < GROUP_SECONDS:
                group = group_of((yield from seconds_per_call(GROUP_SECONDS)))
            begun, cpu = Clock.perf_counter(), Clock.process_time()
            while recorder.count < self.iterations or (
                recorder.count < self.most and Clock.perf_counter() - begun < self.seconds
            ):
                started = Clock.perf_counter_ns()
                yield group
                recorder.add((Clock.perf_counter_ns() - started) / group / 1e6)
            recorder.cpu = (Clock.process_time() - cpu) * 1e3 / group / recorder.count


def seconds_per_call(enough: float) -> Generator[int, None, float]:
    """What a call takes, by the shortest of a few turns that take long enough to be timed.

    Yields as `Turns.fill`. The turns grow as in `timeit.Timer.autorange`.

    Args:
        enough: seconds of a turn.

    Raises:
        RuntimeError: the clock does not move.
    """
    calls = 1
    while True:
        shortest = math.inf
        for _ in range(_ATTEMPTS):
            started = Clock.perf_counter()
            yield calls
            shortest = min(shortest, Clock.perf_counter() - started)
            if shortest >= _LONG:
                break
        if shortest >= enough:
            return shortest / calls
        if not shortest and calls >= _SURELY:
            raise RuntimeError("the clock stands still; measure outside of frozen time")
        calls *= 2
