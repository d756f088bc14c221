"""One launch with real batons over real pipes, both sides as threads: who waits for whom, what is lost."""

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gate.confirm.child import Child, Task
from gate.confirm.course import Course
from gate.confirm.launch import LaunchResult, Pace
from gate.evidence import Pair
from gate.sides.side import LaunchError, Side
from pytest_regression_gate.latency import PerformanceBaseline
from pytest_regression_gate.pipes import Pipe
from pytest_regression_gate.protocol import Answer, Command, Lockstep, Value, Waiting, answer_from
from pytest_regression_gate.worker import Worker

launch_module = sys.modules["gate.confirm.launch"]  # the package's name stands for the function
baton_module = sys.modules["pytest_regression_gate.worker"]
latency_module = sys.modules["pytest_regression_gate.latency"]


def work() -> None:
    sum(range(1000))


def slow() -> None:
    sum(range(3000))


@dataclass
class Test:
    """A test of one side."""

    __test__ = False

    name: str
    operations: dict[str, Callable[[], None]] = field(default_factory=dict)
    values: dict[str, tuple[float, str]] = field(default_factory=dict)
    fails: bool = False
    """Before it measures anything."""
    regrets: bool = False
    """It fails after everything is measured."""
    loads: dict[str, float] = field(default_factory=dict)
    """Load -> the share of its requests that fail."""


def request_of(failing: float) -> Callable[[int, int], Awaitable[bool]]:
    async def request(_: int, index: int) -> bool:
        await asyncio.sleep(0)
        return index >= failing * 50

    return request


def run(tests: list[Test], baton: Worker) -> int:
    """What the plugin does."""
    status = 0
    baton.announce([test.name for test in tests])
    for test in tests:
        baton.begin(test.name)
        values: dict[str, Value] | None = {name: Value(*value) for name, value in test.values.items()}
        try:
            assert not test.fails
            for name, operation in test.operations.items():
                for calls in baton.fill(PerformanceBaseline(name)):
                    for _ in range(calls):
                        operation()
            for name, failing in test.loads.items():
                asyncio.run(baton.load(name, request_of(failing), users=2, requests=50))
            assert not test.regrets
        except (AssertionError, OSError):
            status, values = 1, None
        baton.end(values)
    baton.close(status)
    return status


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(_: int) -> None:
        raise SystemExit

    monkeypatch.setattr(os, "_exit", leave)  # a side whose controller is gone
    monkeypatch.setattr(launch_module, "quietest_core", lambda: -1)
    monkeypatch.setattr(launch_module, "ROUND_SECONDS", 0.002)


ROUNDS = threading.Event()
"""A round was asked for."""


class Watched(Child):
    def ask(self, calls: int, answer: Any, *, close: bool = False) -> Any:
        answer = super().ask(calls, answer, close=close)
        ROUNDS.set()
        return answer


@contextmanager
def pipes(directory: Path, name: str = "side") -> Generator[tuple[Pipe, Pipe]]:
    with Pipe(directory, f"{name}-commands") as commands, Pipe(directory, f"{name}-answers") as answers:
        yield commands, answers


def baton_of(
    commands: Pipe, answers: Pipe, subjects: list[str], tests: list[str] | None = None, core: int = -1
) -> Worker:
    return Worker(Lockstep(str(commands.address), str(answers.address), subjects, tests or [], core))


@dataclass
class Rig:
    """Two sides and what is asked of them."""

    directory: Path
    monkeypatch: pytest.MonkeyPatch
    courses: tuple[Course, Course] = field(default_factory=lambda: (Course(), Course()))
    seconds: float = 60.0
    patience: float = 10.0
    over: threading.Event = field(default_factory=threading.Event)
    """Nobody waits for the sides any more."""

    def launch(
        self,
        base: list[Test],
        head: list[Test],
        whole: tuple[str, ...] = (),
        units: dict[str, str] | None = None,
        asked: tuple[Test, ...] = (),
    ) -> LaunchResult:
        scripts = {"base": base, "head": head}

        @contextmanager
        def started(
            side: Side, task: Task, course: Course, directory: Path, *, seed: int, core: int
        ) -> Generator[Child]:
            log = directory / f"{side.name}.log"
            log.write_text(f"seed {seed}")
            tests = [test for test in scripts[side.name] if test.name in task.tests]
            with pipes(directory, side.name) as (commands, answers):
                baton = baton_of(commands, answers, list(task.subjects), list(task.whole), core)

                def body() -> None:
                    with suppress(SystemExit):
                        run(tests, baton)

                thread = threading.Thread(target=body, daemon=True)
                thread.start()
                process: Any = SimpleNamespace(
                    wait=lambda timeout: thread.join(timeout) or 0,
                    poll=lambda: None if thread.is_alive() else 0,
                )
                try:
                    yield Watched(side, task.command, process, commands, answers, log, task.patience, course)
                finally:
                    self.over.set()
                    commands.close()
                    thread.join(5)

        self.monkeypatch.setattr(launch_module, "started", started)
        sides = tuple(Side(name, self.directory, self.directory) for name in scripts)
        tests = [test.name for test in (*base, *head)]
        subjects = {
            name: frozenset({"p50"})
            for test in asked or (*base, *head)
            for name in (*test.operations, *test.loads)
        }
        task = Task(
            "pytest", list(dict.fromkeys(tests)), subjects, whole, units or {}, patience=self.patience
        )
        pace = Pace(2, 0.01, time.monotonic() + self.seconds)
        return launch_module.launch(sides, task, pace, self.courses)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(tmp_path, monkeypatch)


A, B, C = (Test(f"t.py::{name}", {f"x.{name}": work}) for name in "abc")
NEW = Test("t.py::new", {"x.new": work})


def medians(result: LaunchResult) -> dict[str, Pair]:
    return {name: pair for name, pair in result.pairs.items() if name.endswith(".p50")}


def test_everything_that_both_have_is_measured(rig: Rig):
    result = rig.launch([A, B, C], [A, B, Test(C.name, {"x.c": slow})])
    assert set(medians(result)) == {"x.a.p50", "x.b.p50", "x.c.p50"}
    assert result.pairs["x.c.p50"].ratio > math.log(1.5)
    assert set(result.measuring) == {"x.a", "x.b", "x.c"}


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("removed", [False, True])
def test_a_test_of_one_side_costs_nobody_anything(rig: Rig, place: int, *, removed: bool):
    more = [*[A, B, C][:place], NEW, *[A, B, C][place:]]
    sides = (more, [A, B, C]) if removed else ([A, B, C], more)
    result = rig.launch(*sides)
    assert set(medians(result)) == {"x.a.p50", "x.b.p50", "x.c.p50"}
    assert result.lost <= ({"x.new"} if removed else set())


def test_what_the_head_does_not_come_to_is_lost(rig: Rig):
    """Skipped on both sides, or under another name: the comparison says nothing about it."""
    elsewhere = Test(A.name, {"x.main": work})
    assert rig.launch([A, B], [Test(A.name), B]).lost == {"x.a"}
    assert rig.launch([Test(A.name), B], [Test(A.name), B], asked=(A, B)).lost == {"x.a"}
    assert rig.launch([elsewhere, B], [elsewhere, B], asked=(A, B)).lost == {"x.a"}
    assert rig.launch([], [A, B], asked=(A, B)).lost == set()


def test_an_operation_of_one_side_costs_the_rest_of_its_test_once(rig: Rig):
    base = [Test("t.py::a", {"x.a": work, "x.aa": work}), B]
    head = [Test("t.py::a", {"x.new": work, "x.a": work, "x.aa": work}), B]
    first, second = rig.launch(base, head), rig.launch(base, head)
    assert set(medians(first)) == {"x.b.p50"}
    assert set(medians(second)) == {"x.a.p50", "x.aa.p50", "x.b.p50"}
    assert not first.lost | second.lost


def test_a_failure_of_one_side_costs_its_own_comparison(rig: Rig):
    assert set(medians(rig.launch([Test(A.name, fails=True), B], [A, B]))) == {"x.b.p50"}
    assert set(medians(rig.launch([A, B], [A, Test(B.name, fails=True)]))) == {"x.a.p50"}


@pytest.mark.parametrize("test", [A, C])
@pytest.mark.parametrize("place", [0, 1])
def test_what_a_test_measured_that_fails_afterwards_is_no_measurement(rig: Rig, test: Test, place: int):
    """An endpoint that answers with an error at once is no faster than one that works."""
    sound = [A, B, C]
    sick = [Test(t.name, t.operations, regrets=t is test) for t in sound]
    result = rig.launch(*((sick, sound) if place == 0 else (sound, sick)))
    lost = {f"{name}.p50" for name in test.operations}
    assert set(medians(result)) == {"x.a.p50", "x.b.p50", "x.c.p50"} - lost


@pytest.mark.parametrize(
    ("before", "after", "compared"), [(0, 0, True), (1, 0, False), (0, 1, False), (1, 1, True)]
)
def test_a_load_whose_requests_fail_on_one_side_is_not_compared(
    rig: Rig, before: int, after: int, *, compared: bool
):
    base, head = (Test(A.name, loads={"x.load": failing}) for failing in (before, after))
    assert set(medians(rig.launch([base, B], [head, B]))) == {"x.b.p50"} | (
        {"x.load.p50"} if compared else set()
    )


@pytest.mark.parametrize("both", [False, True])
def test_a_failure_in_the_rounds_costs_its_own_comparison(rig: Rig, *, both: bool):
    ROUNDS.clear()

    def weary() -> None:
        if ROUNDS.is_set():
            raise OSError("no more")
        work()

    base = [Test(A.name, {"x.a": weary if both else work}), B, C]
    result = rig.launch(base, [Test(A.name, {"x.a": weary}), B, C])
    assert set(medians(result)) == {"x.b.p50", "x.c.p50"}


def peak(value: float, unit: str = "MB") -> dict[str, tuple[float, str]]:
    return {"x.peak": (value, unit)}


def test_values_are_compared_in_the_unit_that_was_asked_for(rig: Rig):
    base, head = Test(A.name, values=peak(2)), Test(A.name, values=peak(2200, "kB"))
    pair = rig.launch([base], [head], (A.name,), {"x.peak": "GB"}).pairs["x.peak"]
    assert pair.ratio == pytest.approx(math.log(1.1))
    assert pair.base == pytest.approx(0.002)
    assert pair.rounds == 1
    assert not rig.launch([base], [Test(A.name, values=peak(2, "s"))], (A.name,), {"x.peak": "MB"}).pairs


def test_a_test_as_a_whole_that_one_side_lacks_is_left_alone(rig: Rig):
    new = Test(NEW.name, values={"x.new": (1.0, "s")})
    known = Test(A.name, values=peak(2))
    for sides in (([known, B], [new, known, B]), ([new, known, B], [known, B])):
        result = rig.launch(*sides, (A.name, NEW.name), {"x.peak": "MB", "x.new": "s"})
        assert set(result.pairs) >= {"x.peak", "x.b.p50"}
        assert "x.new" not in result.pairs


def test_a_test_as_a_whole_that_fails_has_no_values(rig: Rig):
    fails = Test(A.name, values=peak(2), fails=True)
    result = rig.launch([fails, B], [Test(A.name, values=peak(2)), B], (A.name,), {"x.peak": "MB"})
    assert set(medians(result)) == {"x.b.p50"}
    assert "x.peak" not in result.pairs


def test_an_operation_is_no_stop_while_its_test_is_measured_as_a_whole(rig: Rig):
    both = Test(A.name, {"x.a": work}, peak(2))
    result = rig.launch([both], [both], (A.name,), {"x.peak": "MB"})
    assert set(result.pairs) == {"x.peak"}


def test_after_the_deadline_nothing_is_waited_for(rig: Rig):
    rig.seconds = -1
    known = Test(A.name, values=peak(2))
    result = rig.launch([known, B], [known, B], (A.name,), {"x.peak": "MB"})
    assert (result.pairs, result.cut) == ({}, True)


def test_a_side_that_is_silent_hangs(rig: Rig):
    rig.patience = 2.0
    with pytest.raises(LaunchError, match="the head side hangs: no sign of life"):
        rig.launch([A], [Test(A.name, {"x.a": lambda: rig.over.wait(60) and None})])


Measured = Callable[..., list[Any]]


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., list[Answer]]:
    """What a baton says that gets these commands (calls and a stop) for the operation x.a of t.py::a."""

    def measured(
        operation: Callable[[], None], *commands: tuple[int, tuple[str, str]], group: int = 1
    ) -> list[Answer]:
        with pipes(tmp_path) as (asking, answering):
            baton = baton_of(asking, answering, ["x.a"])
            baton.begin("t.py::a")
            for calls, stop in (*commands, (0, HERE)):
                asking.send(msgspec.json.encode(Command(*stop, calls, group, close=True)))
            for calls in baton.fill(PerformanceBaseline("x.a")):
                for _ in range(calls):
                    operation()
            return [answer_from(line) for line in iter(lambda: answering.receive(0), None)]

    return measured


HERE = ("t.py::a", "x.a")


def test_a_command_for_a_stop_that_is_over_is_skipped(measured: Measured):
    """A time limit ended the test while its side waited there."""
    answers = measured(work, (7, ("t.py::old", "x.old")))
    assert [type(answer) for answer in answers] == [Waiting]


@dataclass
class Clock:
    """A clock that stands still but for what an operation takes."""

    seconds: float = 0.0

    def perf_counter(self) -> float:
        return self.seconds

    def perf_counter_ns(self) -> int:
        return round(self.seconds * 1e9)

    process_time = perf_counter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(baton_module, "Clock", clock)
    monkeypatch.setattr(latency_module, "Clock", clock)
    return clock


def test_short_calls_are_timed_together(clock: Clock, measured: Measured):
    """The clock shows 0.2 µs more than the calls took."""

    def short() -> None:
        clock.seconds += 1e-6 + (0.2e-6 if len(timed) % 10 == 9 else 0)
        timed.append(clock.seconds)

    timed: list[float] = []
    *_, found = measured(short, (30, HERE), group=10)
    assert found.values["mean"] == pytest.approx(1.02e-3)
    assert found.seconds == pytest.approx(10.2e-6)


def test_the_cold_calls_at_the_beginning_of_a_round_do_not_count(clock: Clock, measured: Measured):
    """The other side has had the caches; a call that is long is not made in vain."""
    calls: list[float] = []

    def cold() -> None:
        """The warm-up and the measuring of its length are four calls, the rounds 2 + 11, 1 + 3 and 1."""
        calls.append(0.3 if len(calls) in {4, 5, 17} else 0.011)
        clock.seconds += calls[-1]

    *_, long, short, single = measured(cold, (11, HERE), (3, HERE), (1, HERE))
    assert len(calls) == 4 + 13 + 4 + 1
    assert [answer.values["mean"] for answer in (long, short, single)] == pytest.approx([11, 11, 11])


def test_a_call_that_lost_its_core_is_no_part_of_the_tail(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, measured: Measured
):
    """As long as most have kept it; the average has all of them."""
    lost, calls = [0], [0]

    def interrupted(every: int) -> Callable[[], None]:
        def operation() -> None:
            calls[0] += 1
            gone = calls[0] % every == 0
            lost[0] += gone
            clock.seconds += 0.05 if gone else 0.001

        return operation

    monkeypatch.setattr(baton_module, "_losses", lambda: lost[0])
    few, most = (measured(interrupted(every), (15, HERE))[-1] for every in (6, 1))
    assert few.block["p95"] == pytest.approx(1)
    assert few.values["mean"] > 5
    assert most.block, "what always loses it is what it is"
