"""The loop of launches, on a clock and with launches made for it: what is measured, and when it ends."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gate.confirm.child import Task
from gate.confirm.compare import Comparison, compare
from gate.confirm.launch import LaunchResult, Pace
from gate.confirm.plan import Question
from gate.evidence import MAX_LAUNCHES, MIN_LAUNCHES, Pair

START = 4.0


@dataclass
class Machine:
    """Launches that take some seconds; each metric's log ratio is `changes` and noise of `noise`."""

    changes: dict[str, float] = field(default_factory=dict[str, float])
    noise: dict[str, float] = field(default_factory=dict[str, float])
    lost: frozenset[str] = frozenset()
    """What the head's tests do not measure there."""
    now: float = 0.0
    launches: list[tuple[frozenset[str], Pace]] = field(default_factory=list[Any])
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def clock(self) -> float:
        return self.now

    def launch(self, sides: object, task: Task, pace: Pace, courses: object) -> LaunchResult:
        result = LaunchResult(lost=self.lost)
        for subject, statistics in task.subjects.items():
            if subject in self.lost:
                continue
            for statistic in statistics:
                metric = f"{subject}.{statistic}"
                ratio = self.changes.get(metric, 0.0) + self.chance.gauss(0, self.noise.get(metric, 0.002))
                result.pairs[metric] = Pair(ratio, self.noise.get(metric, 0.002), 10.0, 40)
            result.measuring[subject] = pace.share
        result.seconds = START + pace.share * len(task.subjects)
        self.launches.append((frozenset(task.subjects), pace))
        self.now += result.seconds
        return result


def question(metric: str, *, suspected: bool = False, tolerance: float = 0.1) -> Question:
    nodeid, command = f"tests/test_{metric[0]}.py::test", "pytest tests"
    return Question(metric, "ms", "lower", tolerance, 0.0, "api", nodeid, command, True, suspected=suspected)


Compared = Callable[..., Comparison]


def run(machine: Machine, questions: Sequence[Question], budget: float = 120.0, **more: Any) -> Comparison:
    sides: Any = {"pytest tests": ("base", "head")}
    return compare(sides, questions, budget, start=machine.launch, clock=machine.clock, **more)


REST = [question(f"{letter}.p50") for letter in "cdefgh"]


def test_everything_that_is_the_same_is_cleared_within_the_budget():
    machine = Machine()
    found = run(machine, [question("a.p50", suspected=True), *REST])
    assert set(found.decisions.values()) == {"cleared"}
    assert len(found.decisions) == 7
    assert not found.early
    assert machine.now < 120


def test_what_the_head_does_not_measure_there_is_named():
    machine = Machine(lost=frozenset({"a"}))
    found = run(machine, [question("a.p50", suspected=True), question("a.cpu"), *REST])
    assert found.not_comparable == ("a.p50", "a.cpu")
    assert found.lost == {"tests/test_a.py::test": ["a"]}
    assert not run(Machine(), REST).lost


def test_a_confirmed_regression_ends_what_nothing_speaks_against():
    machine = Machine({"a.p50": 0.4, "b.p50": 0.3})
    questions = [question("a.p50", suspected=True), question("b.p50", suspected=True), *REST]
    found = run(machine, questions)
    assert {name for name, decision in found.decisions.items() if decision == "confirmed"} == {
        "a.p50",
        "b.p50",
    }
    assert found.early
    assert set(found.not_reached) == {q.metric for q in REST}
    assert machine.now < 60


def test_who_wants_all_gets_all():
    machine = Machine({"a.p50": 0.4}, {"c.p50": 0.05})
    found = run(machine, [question("a.p50", suspected=True), *REST], math.inf, thorough=True)
    assert len(found.evidence["c.p50"].pairs) > len(found.evidence["a.p50"].pairs)
    assert len(found.decisions) == 7
    assert not found.early


NOISY = {"a.p50": 0.09}, {"a.p50": 0.06}
"""About the tolerance, and noise that takes many launches."""


def test_a_suspicion_that_would_fail_undecided_gets_more_time():
    short, long = Machine(*NOISY), Machine(*NOISY)
    asked = [question("a.p50", suspected=True, tolerance=0.04)]
    first = run(short, asked, 24.0)
    assert first.decisions["a.p50"] == "inconclusive"
    run(long, asked, 24.0, longest=72.0)
    assert short.now < 24 + 2 * START
    assert 36 < long.now < 2 * 24 + 2 * START, "twice the budget, and the launch that was begun"


@pytest.mark.parametrize(
    ("changes", "suspected"), [({"a.p50": 0.09}, False), ({"a.p50": -0.05}, True)], ids=["the rest", "better"]
)
def test_what_passes_undecided_gets_no_more_time(changes: dict[str, float], suspected: bool):
    machine = Machine(changes, {"a.p50": 0.2})
    run(machine, [question("a.p50", suspected=suspected, tolerance=0.04)], 24.0, longest=72.0)
    assert machine.now < 24 + 2 * START


def test_no_launch_goes_beyond_the_time_that_is_left():
    machine = Machine(*NOISY)
    run(machine, [question("a.p50", suspected=True, tolerance=0.04)], 24.0, longest=72.0)
    assert max(pace.deadline for _, pace in machine.launches) == pytest.approx(48.0)


def test_it_goes_on_from_what_an_earlier_comparison_showed():
    machine = Machine(*NOISY)
    asked = [question("a.p50", suspected=True, tolerance=0.04)]
    first = run(machine, asked, 20.0, ranks=[5])
    seeds = {pace.seed for _, pace in machine.launches}
    made = len(first.evidence["a.p50"].pairs)
    assert first.decisions["a.p50"] == "inconclusive"
    machine.launches.clear()
    second = run(machine, asked, 300.0, ranks=[5], earlier=first.evidence)
    shown = second.evidence["a.p50"]
    assert MIN_LAUNCHES <= made < len(shown.pairs) <= MAX_LAUNCHES
    assert shown.pairs[:made] == first.evidence["a.p50"].pairs
    assert shown.rank == 5
    assert seeds.isdisjoint(pace.seed for _, pace in machine.launches), "other layouts of memory"
    assert second.decisions["a.p50"] == "confirmed"


def test_what_an_earlier_comparison_decided_is_not_measured():
    machine = Machine({"a.p50": 0.4})
    asked = [question("a.p50", suspected=True)]
    first = run(machine, asked)
    machine.launches.clear()
    second = run(machine, asked, earlier=first.evidence)
    assert not machine.launches
    assert second.decisions == first.decisions


def test_what_a_further_launch_takes_is_known():
    machine = Machine(*NOISY)
    found = run(machine, [question("a.p50", suspected=True, tolerance=0.04)], 20.0)
    assert found.evidence["a.p50"].seconds == pytest.approx(START + machine.launches[-1][1].share, rel=0.2)
