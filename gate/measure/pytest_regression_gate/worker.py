"""The measured side of a same-machine comparison: one short round whenever it is its turn.

Base and head run the same tests in two processes. At each measured operation both wait; the one that
has the turn measures a round and gives it back. What was agreed on is not selected is done once.

What cannot be repeated in rounds (a peak of memory, the duration of a test) is measured once per
process, by one side while the other waits before the same test.

What is said, and how, is in `pytest_regression_gate.protocol`.
"""

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Final, NoReturn, Self

import msgspec

from pytest_regression_gate.clock import Clock
from pytest_regression_gate.latency import PerformanceBaseline, seconds_per_call, settled_heap, without_spells
from pytest_regression_gate.load import LoadTestMetrics, Request, drive
from pytest_regression_gate.metrics import quantile, summarise
from pytest_regression_gate.pipes import Address
from pytest_regression_gate.protocol import (
    Answer,
    Command,
    Ended,
    Lockstep,
    NotPassed,
    Round,
    Selected,
    Value,
    Waiting,
    Whole,
    command_from,
    say,
)
from pytest_regression_gate.variables import LOCKSTEP_VARIABLE

_WARM_UP: Final = 3
SPREAD: Final = "spread"
"""Of a round: the 80 % quantile of its latencies over the 20 % one. Not compared itself."""
_ENOUGH: Final = 9
"""Latencies from which on a fifth of odd ones does not reach their median."""
_WATCHED: Final = 100
"""Calls of a round up to which each is asked whether it kept its core; that takes up to 4 µs. Of more and
shorter calls too few lose it to be the tail."""
_TIMEABLE: Final = 10e-3
"""Seconds of a block of calls from which its duration tells what one call takes."""


class Worker:
    """Takes rounds from a controller and answers with what it measured.

    Args:
        settings: the pipes, what to measure, and where.
    """

    def __init__(self, settings: Lockstep) -> None:
        self._commands = Address.from_text(settings.commands)
        self._answers = Address.from_text(settings.answers)
        self._subjects = frozenset(settings.subjects)
        self.tests = frozenset(settings.tests)
        """Nodeids of the tests that are measured as a whole."""
        self._core = settings.core
        self._heard = b""
        self._turn = False
        self._test = ""

    @classmethod
    def from_environment(cls) -> Self | None:
        """The worker of this process, if it is one side of a comparison.

        None as well where the controller cannot be reached: the tests run as they do without it, and it will
        say that nobody answered.
        """
        text = os.environ.get(LOCKSTEP_VARIABLE)
        if not text:
            return None
        settings = msgspec.json.decode(text, type=Lockstep)
        return cls(settings) if Address.from_text(settings.answers).reachable else None

    def announce(self, tests: Sequence[str]) -> None:
        """Say which tests will run, in order."""
        self._say(Selected(list(tests)))

    def begin(self, nodeid: str) -> None:
        """A test begins; one that is measured as a whole waits until this side may run it."""
        self._test, self._turn = nodeid, nodeid in self.tests
        if self._turn:
            self._settle()
            self._say(Waiting(nodeid))
            self._next("")

    def end(self, values: Mapping[str, Value] | None) -> None:
        """It is over; one that is measured as a whole hands over its values, with their units.

        None: it did not pass, and what it measured is no measurement.
        """
        if self._turn:
            self._turn = False
            self._say(Whole(dict(values or {})))
            self._next("")
        elif values is None:
            self._say(NotPassed(self._test))

    def close(self, status: int) -> None:
        """Pytest is over, with this exit status."""
        self._say(Ended(status))

    def fill(self, recorder: PerformanceBaseline) -> Iterator[int]:
        """Yield as `Turns.fill` does, for as many rounds as the controller wants."""
        if self._turn or recorder.name not in self._subjects:
            started = Clock.perf_counter()
            yield 1
            recorder.add((Clock.perf_counter() - started) * 1e3)
            return
        self._settle()
        with settled_heap():
            for _ in range(_WARM_UP):
                yield 1
            seconds = yield from seconds_per_call(_TIMEABLE)
            recorder.add(seconds * 1e3)
            self._say(Waiting(self._test, recorder.name, seconds))
            block: list[float] = []
            while (command := self._next(recorder.name)).calls:
                for _ in range(_cold(command.calls)):
                    yield command.group
                latencies: list[float] = []
                undisturbed: list[float] = []
                losses = _losses if command.calls <= _WATCHED else int
                lost, cpu, started = losses(), Clock.process_time(), Clock.perf_counter()
                for _ in range(command.calls):
                    begun = Clock.perf_counter_ns()
                    yield command.group
                    latencies.append((Clock.perf_counter_ns() - begun) / command.group / 1e6)
                    if lost == (lost := losses()):
                        undisturbed.append(latencies[-1])
                calls = command.calls * command.group
                cpu = (Clock.process_time() - cpu) * 1e3 / calls
                seconds = (Clock.perf_counter() - started) / command.calls
                block += undisturbed if 2 * len(undisturbed) > len(latencies) else latencies
                shape = _shape(without_spells(block)) if command.close else {}
                if command.close:
                    block.clear()
                self._say(Round(_middle(latencies) | {"cpu": cpu}, seconds, shape))

    async def load(self, name: str, request: Request, users: int, requests: int) -> LoadTestMetrics:
        """Drive a load once, and again for every round."""
        wanted = name in self._subjects and not self._turn
        if wanted:
            self._settle()
        with settled_heap():
            metrics = await drive(request, users, requests)
            if wanted:
                each, errors = users * requests, metrics.error_rate
                self._say(Waiting(self._test, name, metrics.duration, each, errors))
                block: list[float] = []
                while (command := self._next(name)).calls:
                    metrics = await drive(request, users, requests, command.calls)
                    values = _middle(metrics.latencies) | {"throughput": metrics.throughput}
                    block += [latency / (values["p50"] or 1.0) for latency in metrics.latencies]
                    shape = _shape(block) if command.close else {}
                    if command.close:
                        block.clear()
                    self._say(Round(values, metrics.duration / command.calls, shape))
        return metrics

    def _settle(self) -> None:
        """Move to the core that both sides share; until here each side started on any."""
        if self._core >= 0 and sys.platform == "linux":
            for thread in Path("/proc/self/task").iterdir():
                with suppress(OSError):
                    os.sched_setaffinity(int(thread.name), {self._core})
        self._core = -1

    def _next(self, operation: str) -> Command:
        """The next command for this operation, or for the test as a whole."""
        while True:
            if not self._heard:
                with suppress(OSError):
                    self._heard = self._commands.receive()
                if not self._heard:
                    _leave()
            line, _, self._heard = self._heard.partition(b"\n")
            command = command_from(line)
            if (command.test, command.operation) == (self._test, operation):
                return command

    def _say(self, message: Answer) -> None:
        try:
            say(self._answers, message)
        except OSError:
            _leave()


def _leave() -> NoReturn:
    """The controller is gone: nobody needs this process any more."""
    os._exit(1)


def _losses() -> int:
    """How often the kernel has taken the core from this process to give it to another one."""
    import resource  # noqa: PLC0415 - Windows has none, and tests that are not compared run there

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _cold(calls: int) -> int:
    """Calls at the beginning of a round that do not count, beside so many: the other side has had the caches.

    The first one takes up to four times as long, the second a tenth longer; among few calls that would be
    the tail. A single call is so long that it makes no difference.
    """
    return 2 if calls >= 10 else int(calls > 1)


def _middle(latencies: Sequence[float]) -> dict[str, float]:
    """What a short round says of latencies; how wide their middle is, if they are enough to tell."""
    ordered = sorted(latencies)
    low, high = quantile(ordered, 0.2), quantile(ordered, 0.8)
    spread = {SPREAD: high / low} if len(ordered) >= _ENOUGH and low > 0 else {}
    return {"p50": quantile(ordered, 0.5), "mean": fmean(ordered)} | spread


def _shape(latencies: Sequence[float]) -> dict[str, float]:
    """Everything else of them, as multiples of the median: what needs more than a short round."""
    values = summarise(latencies)
    middle = values["p50"] or math.inf  # the clock may be too coarse for the operation
    return {statistic: values[statistic] / middle for statistic in ("p95", "p99", "std")}
