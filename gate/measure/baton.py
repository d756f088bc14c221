"""The measured side of a same-machine comparison: one short round whenever the baton comes.

Base and head run the same tests in two processes. At each measured operation both wait; the one that
holds the baton measures a round and passes it back. What was agreed on is not selected is done once.

One JSON line per message. Out: `{"ready": name, "seconds": s}`, then `{"round": {statistic: value}}` for
each round. In: `{"calls": n}` for a round of n calls, `{"calls": 0}` to go on with the test.
"""

import json
import os
import time
from collections.abc import Iterator
from typing import Any, Final, Self

from gate.measure.latency import PerformanceBaseline, settled_heap
from gate.measure.load import LoadTestMetrics, Request, drive
from gate.measure.names import BATON_VARIABLE
from gate.model import summarise

_WARM_UP: Final = 5


class Baton:
    """Takes rounds from a controller and answers with what it measured.

    Args:
        commands: file descriptor to read from.
        answers: file descriptor to write to.
        subjects: the operations to measure in rounds.
    """

    def __init__(self, commands: int, answers: int, subjects: frozenset[str]) -> None:
        self._commands = os.fdopen(commands, "rb")
        self._answers = answers
        self._subjects = subjects

    @classmethod
    def from_environment(cls) -> Self | None:
        """The baton of this process, if it is one side of a comparison."""
        text = os.environ.get(BATON_VARIABLE)
        if not text:
            return None
        settings = json.loads(text)
        return cls(settings["commands"], settings["answers"], frozenset(settings["subjects"]))

    def fill(self, recorder: PerformanceBaseline) -> Iterator[None]:
        """Yield once per call, as `Turns.fill` does, for as many rounds as the controller wants."""
        seconds = 0.0
        for _ in range(_WARM_UP if recorder.name in self._subjects else 1):
            started = time.perf_counter()
            yield
            seconds = time.perf_counter() - started
            recorder.add(seconds * 1e3)
        if recorder.name not in self._subjects:
            return
        with settled_heap():
            self._say(ready=recorder.name, seconds=seconds)
            while calls := self._next():
                latencies: list[float] = []
                cpu = time.process_time()
                for _ in range(calls):
                    begun = time.perf_counter_ns()
                    yield
                    latencies.append((time.perf_counter_ns() - begun) / 1e6)
                cpu = (time.process_time() - cpu) * 1e3 / calls
                self._say(round=summarise(latencies) | {"cpu": cpu})

    async def load(self, name: str, request: Request, users: int, requests: int) -> LoadTestMetrics:
        """Drive a load once, and again for every round."""
        started = time.perf_counter()
        metrics = await drive(request, users, requests)
        if name in self._subjects:
            self._say(ready=name, seconds=time.perf_counter() - started)
            while calls := self._next():
                metrics = await drive(request, users, requests, calls)
                values = summarise(metrics.latencies) | {"throughput": metrics.throughput}
                self._say(round=values)
        return metrics

    def _next(self) -> int:
        line = self._commands.readline()
        if not line:  # the controller is gone: nobody needs this process any more
            os._exit(1)
        return int(json.loads(line)["calls"])

    def _say(self, **message: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        os.write(self._answers, json.dumps(message).encode() + b"\n")
