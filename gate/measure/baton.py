"""The measured side of a same-machine comparison: one short round whenever the baton comes.

Base and head run the same tests in two processes. At each measured operation both wait; the one that
holds the baton measures a round and passes it back. What was agreed on is not selected is done once.

What cannot be repeated in rounds (a peak of memory, the duration of a test) is measured once per
process, by one side while the other waits before the same test.

One JSON line per message. Out: `{"tests": [nodeid, ...]}` before the first test; `{"test": nodeid, "ready":
name, "seconds": s, "each": n}` at an operation, with what a call takes, the latencies it gives and of a load
`"errors": share`, how many of its requests fail; and then `{"round": {statistic: value}, "seconds": s}` for
each round; where it closes a block of rounds its values have `"block": {statistic: multiple of the median}`,
without slow spells of the machine. `{"test": nodeid}` before a test that is measured as a whole, and after it
`{"values": {metric: {"value": v, "unit": u}}}`, empty if it failed; `{"failed": nodeid}` after any other test
that did not pass; `{"ended": status}` at pytest's end. In: `{"calls": n, "at": [nodeid, name], "close":
whether it closes a block}` for a round of n calls, none to go on; what is for a stop that a time limit has
ended is skipped.
"""

import json
import math
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple, Self

from gate.measure.latency import PerformanceBaseline, settled_heap, without_spells
from gate.measure.load import LoadTestMetrics, Request, drive
from gate.model import quantile, summarise
from gate.variables import BATON_VARIABLE

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


class _Command(NamedTuple):
    """What the controller wants."""

    calls: int
    close: bool
    """Whether a block of rounds ends with this one."""


class Baton:
    """Takes rounds from a controller and answers with what it measured.

    Args:
        commands: file descriptor to read from.
        answers: file descriptor to write to.
        subjects: the operations to measure in rounds.
        tests: nodeids of the tests to measure as a whole.
        core: the core to measure on; negative: any.
    """

    def __init__(
        self, commands: int, answers: int, subjects: frozenset[str], tests: frozenset[str], core: int = -1
    ) -> None:
        self._commands = os.fdopen(commands, "rb")
        self._answers = answers
        self._subjects = subjects
        self._core = core
        self._turn = False
        self._test = ""
        self.tests = tests

    @classmethod
    def from_environment(cls) -> Self | None:
        """The baton of this process, if it is one side of a comparison."""
        text = os.environ.get(BATON_VARIABLE)
        if not text:
            return None
        settings = json.loads(text)
        return cls(
            settings["commands"],
            settings["answers"],
            frozenset(settings["subjects"]),
            frozenset(settings["tests"]),
            settings["core"],
        )

    def announce(self, tests: Sequence[str]) -> None:
        """Say which tests will run, in order."""
        self._say(tests=tests)

    def begin(self, nodeid: str) -> None:
        """A test begins; one that is measured as a whole waits until this side may run it."""
        self._test, self._turn = nodeid, nodeid in self.tests
        if self._turn:
            self._settle()
            self._say(test=nodeid)
            self._next("")

    def end(self, values: Mapping[str, Mapping[str, float | str]] | None) -> None:
        """It is over; one that is measured as a whole hands over its values, with their units.

        None: it did not pass, and what it measured is no measurement.
        """
        if self._turn:
            self._turn = False
            self._say(values=values or {})
            self._next("")
        elif values is None:
            self._say(failed=self._test)

    def close(self, status: int) -> None:
        """Pytest is over, with this exit status."""
        self._say(ended=status)

    def fill(self, recorder: PerformanceBaseline) -> Iterator[None]:
        """Yield once per call, as `Turns.fill` does, for as many rounds as the controller wants."""
        if self._turn or recorder.name not in self._subjects:
            started = time.perf_counter()
            yield
            recorder.add((time.perf_counter() - started) * 1e3)
            return
        self._settle()
        with settled_heap():
            for _ in range(_WARM_UP):
                yield
            calls = 1
            while True:  # as timeit's autorange does: a block of calls that is long enough to be timed
                started = time.perf_counter()
                for _ in range(calls):
                    yield
                seconds = time.perf_counter() - started
                if seconds >= _TIMEABLE:
                    break
                calls *= 2
            recorder.add(seconds / calls * 1e3)
            self._say(test=self._test, ready=recorder.name, seconds=seconds / calls, each=1)
            block: list[float] = []
            while (command := self._next(recorder.name)).calls:
                for _ in range(_cold(command.calls)):
                    yield
                latencies: list[float] = []
                undisturbed: list[float] = []
                losses = _losses if command.calls <= _WATCHED else int
                lost, cpu, started = losses(), time.process_time(), time.perf_counter()
                for _ in range(command.calls):
                    begun = time.perf_counter_ns()
                    yield
                    latencies.append((time.perf_counter_ns() - begun) / 1e6)
                    if lost == (lost := losses()):
                        undisturbed.append(latencies[-1])
                cpu = (time.process_time() - cpu) * 1e3 / command.calls
                seconds = (time.perf_counter() - started) / command.calls
                block += undisturbed if 2 * len(undisturbed) > len(latencies) else latencies
                values: dict[str, Any] = _middle(latencies) | {"cpu": cpu}
                if command.close:
                    values["block"] = _shape(without_spells(block))
                    block.clear()
                self._say(round=values, seconds=seconds)

    async def load(self, name: str, request: Request, users: int, requests: int) -> LoadTestMetrics:
        """Drive a load once, and again for every round."""
        wanted = name in self._subjects and not self._turn
        if wanted:
            self._settle()
        with settled_heap():
            metrics = await drive(request, users, requests)
            if wanted:
                each, errors = users * requests, metrics.error_rate
                self._say(test=self._test, ready=name, seconds=metrics.duration, each=each, errors=errors)
                block: list[float] = []
                while (command := self._next(name)).calls:
                    metrics = await drive(request, users, requests, command.calls)
                    values: dict[str, Any] = _middle(metrics.latencies) | {"throughput": metrics.throughput}
                    block += [latency / (values["p50"] or 1.0) for latency in metrics.latencies]
                    if command.close:
                        values["block"] = _shape(block)
                        block.clear()
                    self._say(round=values, seconds=metrics.duration / command.calls)
        return metrics

    def _settle(self) -> None:
        """Move to the core that both sides share; until here each side started on any."""
        if self._core >= 0 and sys.platform == "linux":
            for thread in Path("/proc/self/task").iterdir():
                with suppress(OSError):
                    os.sched_setaffinity(int(thread.name), {self._core})
        self._core = -1

    def _next(self, operation: str) -> _Command:
        """The next command for this operation, or for the test as a whole."""
        while line := self._commands.readline():
            message = json.loads(line)
            if message["at"] == [self._test, operation]:
                return _Command(message["calls"], message["close"])
        os._exit(1)  # the controller is gone: nobody needs this process any more

    def _say(self, **message: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        os.write(self._answers, json.dumps(message).encode() + b"\n")


def _losses() -> int:
    """How often the kernel has taken the core from this process to give it to another one."""
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
