"""The `measure` fixture: what a test calls, and what it leaves for the report."""

import inspect
import math
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from itertools import repeat
from numbers import Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

import psutil

from pytest_regression_gate.executed import Executed
from pytest_regression_gate.latency import PerformanceBaseline, Turns
from pytest_regression_gate.load import LoadTestMetrics, Request, measure_load
from pytest_regression_gate.metrics import (
    METHOD,
    Better,
    LoadRun,
    Measurement,
    checked,
    join_name,
    split_name,
    systematic,
)
from pytest_regression_gate.resources import ResourceUsage
from pytest_regression_gate.services import read_counters, service_pid
from pytest_regression_gate.worker import Worker

P = ParamSpec("P")
T = TypeVar("T")


class Measure:
    """Measures for one test. Call it to time an operation; its methods record everything else.

    Args:
        nodeid: the test.
        root: the directory the suite runs in; functions below it are noted as what an operation runs.
        turns: how often an operation is repeated.
        owners: metric name -> test that recorded it, shared by all tests of a session, so that a
            name that is used twice is refused where it happens.
        worker: set when this process is one side of a same-machine comparison.
    """

    def __init__(
        self, nodeid: str, root: Path, turns: Turns, owners: dict[str, str], worker: Worker | None = None
    ) -> None:
        self._nodeid = nodeid
        self._root = root
        self._turns = worker or turns
        self._worker = worker
        self._owners = owners
        self._unawaited: dict[str, None] = {}
        self.measurements: list[Measurement] = []
        """What was recorded so far, in order."""
        self.executed: dict[str, list[str]] = {}
        """Measured operation -> functions of the project that its first call ran."""

    @overload
    def __call__(
        self, name: str, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]: ...

    @overload
    def __call__(self, name: str, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    def __call__(self, name: str, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Time `func(*args, **kwargs)` over many turns and return its last result.

        Records a sample of latencies and the CPU time per operation. The first call is part of the
        warm-up. If `func` is a coroutine function (or returns an awaitable), await the call.

        Raises:
            ValueError: the name is no metric name or was recorded before.
        """
        recorder = PerformanceBaseline(self._claim(name))
        executed = Executed(self._root)
        with executed.watch():
            first = func(*args, **kwargs)
        if inspect.isawaitable(first):
            self._unawaited[recorder.name] = None
            return self._repeat_async(recorder, first, partial(func, *args, **kwargs), executed)
        self.executed[recorder.name] = executed.functions
        result: Any = first
        for calls in self._turns.fill(recorder):
            for _ in repeat(None, calls):
                result = func(*args, **kwargs)
        self._keep(recorder)
        return result

    def record(
        self, name: str, value: float, *, unit: str, better: Better = "lower", **labels: object
    ) -> None:
        """Record one value, e.g. `measure.record("cache.hit_rate", 0.83, unit="ratio", better="higher")`.

        Raises:
            ValueError: the value is not finite or no measurement can have it, or the name is wrong or taken.
            TypeError: the value is not a number.
        """
        self._add(name, labels, unit=unit, better=better, value=_number(name, value))

    def count(self, name: str, value: int, **labels: object) -> None:
        """Record an exact work count, e.g. calls to a paid service per operation. Fewer is better.

        Raises:
            ValueError: the value is not a whole number from 0 on, or the name is wrong or taken.
        """
        if value != int(value) or value < 0:
            raise ValueError(
                f"measure.count({name!r}): a work count is a whole number from 0 on, not {value!r}"
            )
        self._add(name, labels, unit="count", value=int(value), exact=True)

    def load(
        self,
        name: str,
        request: Request,
        *,
        users: int,
        requests: int,
        repeat: int = 1,
        remote: bool = False,
    ) -> Awaitable[LoadTestMetrics]:
        """Drive `users` concurrent users with `requests` requests each and record what they saw.

        `repeat` does all of it several times, so that a percentile rests on enough requests. Some users
        warm up first; of that only the errors count. Say `remote=True` if the service runs in another
        process: how busy this one is then tells whether it could drive the load.

        Records the latencies under `name`, and `.throughput` (successes per second) and `.error_rate`,
        and what tells whether the load was a measurement.
        An error is counted, never raised: assert on the result's `errors` and `first_error`. Await the call.

        Raises:
            ValueError: the name is wrong or taken, or there is nothing to send.
        """
        full = self._claim(name)
        self._unawaited[full] = None
        executed = Executed(self._root)
        if self._worker:
            running = self._worker.load(full, request, users, requests)
        else:
            running = measure_load(
                request, users, requests, repeat, remote=remote, warming_up=executed.watch()
            )
        return self._load(full, running, executed)

    @contextmanager
    def resources(self, name: str, *, of: str = "", **labels: object) -> Generator[ResourceUsage]:
        """Watch memory and CPU of this process, or of a service, while the block runs.

        Records `.memory.peak` and `.memory.growth` in MB, and `.cpu.mean` as a share of the machine.
        Nothing is recorded if the block raises; a CPU share that could not be measured is an error.

        Args:
            name: of the metrics.
            of: a service that thresholds.yaml declares; it is watched with all processes that it started.
            labels: of the metrics.

        Raises:
            RuntimeError: no such service runs, or the block was too short.
        """
        try:
            with ResourceUsage(service_pid(of) if of else None) as usage:
                yield usage
        except psutil.NoSuchProcess:
            raise RuntimeError(f"measure.resources({name!r}): service {of!r} has ended") from None
        if usage.cpu is None:
            raise RuntimeError(
                f"measure.resources({name!r}): the block was too short to measure its CPU share"
            )
        self._add(f"{name}.memory.peak", labels, unit="MB", value=usage.peak, count=usage.samples)
        self._add(f"{name}.memory.growth", labels, unit="MB", value=usage.growth)
        self._add(f"{name}.cpu.mean", labels, unit="ratio", value=usage.cpu)

    @contextmanager
    def counters(self, name: str, url: str, *counters: str, **labels: object) -> Generator[None]:
        """Record by how much counters of a service grow while the block runs, as exact work counts.

        Each is the metric `NAME.COUNTER`; a counter with several label sets is their sum. Needs the package
        `prometheus-client`. Nothing is recorded if the block raises.

        Args:
            name: of the metrics.
            url: where the service tells them in Prometheus' text format.
            counters: their names, e.g. `db_queries_total`.
            labels: of the metrics.

        Raises:
            OSError: the service does not answer.
            ValueError: it does not know a counter, or one does not count up in whole numbers.
        """
        before = read_counters(url, counters)
        yield
        after = read_counters(url, counters)
        for counter in counters:
            if counter not in after:
                raise ValueError(f"measure.counters({name!r}): {url} has no counter {counter!r}")
            self.count(f"{name}.{counter}", after[counter] - before.get(counter, 0), **labels)  # pyright: ignore[reportArgumentType] - a whole number, or it is refused

    def finish(self) -> None:
        """Refuse a test that forgot to await a measurement: it would silently record nothing.

        Raises:
            RuntimeError: with the names that were left.
        """
        if self._unawaited:
            names = ", ".join(self._unawaited)
            raise RuntimeError(f"measure({names!r}) was not awaited; a call with an async function has to be")

    async def _load(
        self, name: str, running: Awaitable[LoadTestMetrics], executed: Executed
    ) -> LoadTestMetrics:
        del self._unawaited[name]
        metrics = await running
        base, labels = split_name(name)
        if executed.functions:
            self.executed[name] = executed.functions
        self._add_sample(name, metrics.latencies, metrics.run)
        self._add(
            f"{base}.throughput",
            labels,
            unit="req/s",
            better="higher",
            value=metrics.throughput,
            count=metrics.total,
            method=METHOD,
        )
        self._add(f"{base}.error_rate", labels, unit="ratio", value=metrics.error_rate, count=metrics.total)
        return metrics

    async def _repeat_async(
        self,
        recorder: PerformanceBaseline,
        first: Awaitable[object],
        operation: Callable[[], Awaitable[object]],
        executed: Executed,
    ) -> object:
        del self._unawaited[recorder.name]
        with executed.watch():
            result = await first
        self.executed[recorder.name] = executed.functions
        for calls in self._turns.fill(recorder):
            for _ in repeat(None, calls):
                result = await operation()
        self._keep(recorder)
        return result

    def _keep(self, recorder: PerformanceBaseline) -> None:
        base, labels = split_name(recorder.name)
        self._add_sample(recorder.name, recorder.latencies)
        self._add(
            f"{base}.cpu", labels, unit="ms", value=recorder.cpu or 0.0, count=recorder.count, method=METHOD
        )

    def _add_sample(self, name: str, latencies: list[float], load: LoadRun | None = None) -> None:
        base, labels = split_name(name)
        kept = systematic(latencies)
        measurement = Measurement(
            name=base,
            unit="ms",
            labels=labels,
            samples=[float(f"{value:.6g}") for value in kept],
            count=len(latencies),
            sampling="all" if len(kept) == len(latencies) else "systematic",
            method=METHOD,
            load=load,
        )
        self._append(name, measurement)

    def _add(
        self,
        name: str,
        labels: dict[str, Any],
        *,
        unit: str,
        value: float,
        better: Better = "lower",
        count: int = 1,
        exact: bool = False,
        method: int = 1,
    ) -> None:
        base, own = split_name(self._claim(name, labels))
        measurement = Measurement(
            name=base,
            unit=unit,
            better=better,
            labels=own,
            value=value,
            count=count,
            exact=exact,
            method=method,
        )
        self._append(name, measurement)

    def _append(self, name: str, measurement: Measurement) -> None:
        """Keep what the gate can read, and refuse all else where it is recorded."""
        try:
            checked(measurement)
        except ValueError as error:
            raise ValueError(f"metric {name!r}: {error}") from None
        self.measurements.append(measurement)

    def _claim(self, name: str, labels: dict[str, Any] | None = None) -> str:
        """Check a name, add labels to it and make sure that nobody else records it."""
        base, own = split_name(name)
        full = join_name(base, own | {key: str(value) for key, value in (labels or {}).items()})
        split_name(full)
        owner = self._owners.setdefault(full, self._nodeid)
        if owner != self._nodeid or any(join_name(m.name, m.labels) == full for m in self.measurements):
            raise ValueError(
                f"metric {full!r} was recorded before, by {owner}; add a label to tell them apart"
            )
        return full


def _number(name: str, value: object) -> float:
    """What a test recorded, also if another library's type holds it (`numpy.float32`, `Decimal`)."""
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise TypeError(f"measure.record({name!r}): {value!r} is not a number")
    with suppress(OverflowError):
        return float(value)
    return math.inf
