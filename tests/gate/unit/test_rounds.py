"""What short rounds say of medians, averages and tails, on a machine that changes its speed."""

import math
import random
import sys
from collections.abc import Callable
from statistics import fmean, median
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.confirm.child import Task
from gate.confirm.launch import LONGEST_BLOCK, Pace
from gate.confirm.rounds import paired, ratio_of_medians
from gate.evidence import Pair
from pytest_regression_gate.latency import without_spells
from pytest_regression_gate.metrics import quantile
from pytest_regression_gate.protocol import Round
from pytest_regression_gate.worker import _middle, _shape

launch_module = sys.modules["gate.confirm.launch"]  # the package's name stands for the function
latencies = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60)


def p95(values: list[float]) -> float:
    return quantile(sorted(values), 0.95)


def calls(count: int = 200) -> list[float]:
    """Latencies of 1 ms, every twelfth call takes twice as long."""
    chance = random.Random(3)
    return [(2.0 if number % 12 == 7 else 1.0) * chance.gauss(1, 0.01) for number in range(count)]


def test_a_spell_of_the_machine_leaves_the_tail_as_it_is():
    calm = calls()
    hit = [value * (3.0 if 40 <= number < 80 else 1.0) for number, value in enumerate(calm)]
    assert p95(hit) > 1.4 * p95(calm), "the spell is in the plain percentile"
    assert p95(without_spells(hit)) == pytest.approx(p95(without_spells(calm)), rel=0.03)


def test_a_tail_of_single_calls_is_kept():
    calm = calls()
    slower = [value * (1.3 if value > 1.5 else 1.0) for value in calm]
    assert p95(without_spells(slower)) / p95(without_spells(calm)) == pytest.approx(1.3, rel=0.03)


@given(latencies, st.floats(0.01, 100))
def test_it_scales_with_the_unit(values: list[float], factor: float):
    scaled = without_spells([factor * value for value in values])
    assert scaled == pytest.approx([factor * value for value in without_spells(values)])


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5))
def test_a_handful_of_calls_stays_as_it_is(values: list[float]):
    assert without_spells(values) == pytest.approx(values)


@pytest.mark.parametrize("values", [[0.0] * 5, [0.0, 0.0, 0.0, 1.0]])
def test_a_clock_too_coarse_for_the_operation_breaks_nothing(values: list[float]):
    assert all(map(math.isfinite, _shape(without_spells(values)).values()))


def speeds(number: int, seed: int) -> list[float]:
    """How fast the machine is in each round: now and then half as fast for some rounds."""
    chance, slow, found = random.Random(seed), False, []
    for _ in range(number):
        slow = chance.random() < (0.7 if slow else 0.1)
        found.append((2.0 if slow else 1.0) * math.exp(chance.gauss(0, 0.01)))
    return found


Call = Callable[[random.Random], tuple[float, float]]
"""A call's latency and CPU time on a machine of speed 1."""


def measured(base: Call, head: Call, calls: int, number: int = 2_000, seed: int = 1) -> dict[str, Pair]:
    """Rounds of so many calls on a machine that changes its speed."""
    chance = random.Random(seed)

    def values(call: Call, speed: float) -> dict[str, float]:
        taken = [call(chance) for _ in range(calls)]
        return _middle([speed * latency for latency, _ in taken]) | {
            "cpu": speed * fmean(c for _, c in taken)
        }

    machine = zip(speeds(number, 2 * seed), speeds(number, 2 * seed + 1), strict=True)
    return paired([(values(base, one), values(head, other)) for one, other in machine])


def steady(_: random.Random) -> tuple[float, float]:
    return 10.0, 1.0


@pytest.mark.parametrize("calls", [1, 3, 11])
@pytest.mark.parametrize(
    ("head", "mean", "cpu"),
    [
        (lambda _: (12.0, 1.2), 1.2, 1.2),
        (lambda chance: (50.0, 5.0) if chance.random() < 0.1 else (10.0, 1.0), 1.4, 1.4),
        (lambda chance: (1.0, 0.5) if chance.random() < 0.4 else (10.0, 1.0), 0.64, 0.8),
        (lambda chance: (chance.uniform(0, 20), 1.0), 1.0, 1.0),
        (lambda chance: (20.0, 2.0) if chance.random() < 0.55 else (10.0, 1.0), 1.55, 1.55),
    ],
    ids=["all of them", "now and then", "a cache", "another wait", "half of them"],
)
def test_an_average_is_that_of_all_calls(calls: int, head: Call, mean: float, cpu: float):
    """Whatever the calls are like and whatever the median does: five errors are far below most changes."""
    found = measured(steady, head, calls)
    for name, truth in (("mean", mean), ("cpu", cpu)):
        assert found[name].ratio == pytest.approx(math.log(truth), abs=5 * found[name].error)
        assert found[name].error < 0.03


def test_spells_hardly_touch_the_average_of_a_steady_operation():
    seen = [[measured(steady, steady, calls, 60, seed)["cpu"] for seed in range(40)] for calls in (3, 11)]
    few, many = (max(abs(pair.ratio) for pair in pairs) for pairs in seen)
    assert many < 0.2 * few


def test_the_error_of_an_average_is_what_it_moves_by():
    """For rounds that do not depend on each other; what spells add is seen from launch to launch."""
    chance = random.Random(4)
    seen = [
        paired([({"cpu": chance.uniform(1, 2)}, {"cpu": chance.uniform(1, 2)}) for _ in range(40)])["cpu"]
        for _ in range(1_000)
    ]
    assert fmean(pair.error for pair in seen) == pytest.approx(
        math.sqrt(fmean(pair.ratio**2 for pair in seen)), rel=0.1
    )


def test_the_median_passes_over_spells_of_the_machine():
    seen = [measured(steady, steady, 3, 60, seed) for seed in range(40)]
    assert max(abs(pair["p50"].ratio) for pair in seen) < 0.03
    assert max(abs(pair["cpu"].ratio) for pair in seen) > 0.1


def test_a_tail_is_the_median_times_its_multiple():
    machine = speeds(12, 1)
    rounds = [({"p50": speed}, {"p50": 1.02 * speed}) for speed in machine]
    found = paired(rounds, [({"p95": 2.0}, {"p95": 3.0})] * 4)
    assert found["p95"].ratio == pytest.approx(math.log(1.02 * 1.5))
    assert found["p95"].base == pytest.approx(2 * median(machine))
    assert (found["p50"].rounds, found["p95"].rounds) == (12, 4)


@pytest.mark.parametrize("wrong", [0.0, math.inf])
def test_what_has_no_logarithm_is_no_pair(wrong: float):
    same: dict[str, float] = {"p50": 1.0, "cpu": 1.0}
    found = paired([(same, {"p50": 1.0, "cpu": wrong})] * 4, [({"p95": wrong}, {"p95": 1.0})])
    assert set(found) == {"p50"}


def test_what_only_one_side_has_is_no_pair():
    assert set(paired([({"p50": 1.0}, {"p50": 1.0, "cpu": 1.0})] * 4)) == {"p50"}


@pytest.mark.parametrize("number", [2, 4, 5, 9, 20, 100])
def test_the_error_of_few_rounds_is_right_on_average(number: int):
    """It is what the median really moves by, within what the factors can do."""
    chance = random.Random(number)
    pairs = [
        ratio_of_medians([(1.0, math.exp(chance.gauss(0, 0.1))) for _ in range(number)]) for _ in range(4_000)
    ]
    stated = fmean(pair.error for pair in pairs if pair)
    really = math.sqrt(fmean(pair.ratio**2 for pair in pairs if pair))
    assert 0.9 < stated / really < 1.3


class Scripted:
    """A side that answers rounds by itself: of so many calls in a hundred it takes twice as long."""

    def __init__(
        self, name: str, seconds: float, slow: int, clock: list[float], *, early: float = 1, cold: float = 1
    ) -> None:
        self.side, self.seconds = SimpleNamespace(name=name), early * seconds
        self.each, self.errors = 1, 0.0
        self.group = 1
        self.asked: list[tuple[int, bool]] = []
        self._usual, self._slow, self._cold, self._clock = seconds, slow, cold, clock
        self._chance = random.Random(slow)
        self._block: list[float] = []

    def time_together(self, calls: int) -> None:
        self.seconds *= calls
        self.group = calls

    def ask(self, calls: int, _: type[Round], *, close: bool) -> Round:
        first = not self.asked
        self.asked.append((calls, close))
        taken = [self._usual * (1 + (self._chance.randrange(100) < self._slow)) for _ in range(calls)]
        self.seconds = self._usual * (self._cold if first else 1)
        self._clock[0] += sum(taken)
        self._block += taken
        shape = _shape(without_spells(self._block)) if close else {}
        if close:
            self._block.clear()
        return Round(_middle(taken) | {"cpu": self._usual}, self.seconds, shape)


def rounds(
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    *asked: str,
    early: float = 1,
    cold: float = 1,
    deadline: float = math.inf,
) -> tuple[dict[str, Pair], Scripted]:
    """What rounds say where 2 % of the base's calls and 12 % of the head's take twice as long."""
    clock = [0.0]
    monkeypatch.setattr(launch_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    sides: Any = (
        Scripted("base", seconds, 2, clock, early=early, cold=cold),
        Scripted("head", seconds, 12, clock),
    )
    task = Task("", [], {"a": frozenset(asked)})
    found = launch_module._rounds("a", sides, task, Pace(2, 1.5, deadline))
    return found, sides[0]


@pytest.mark.parametrize("seconds", [0.0001, 0.001, 0.005, 0.024])
@pytest.mark.parametrize(("early", "cold"), [(1, 1), (1, 2), (2, 1)])
def test_a_block_has_as_many_calls_as_its_percentile_needs(
    monkeypatch: pytest.MonkeyPatch, seconds: float, early: float, cold: float
):
    """Also where a spell of the machine meets the first round, or the calls before that tell its length."""
    found, side = rounds(monkeypatch, seconds, "p50", "p95", early=early, cold=cold)
    counted = side.asked[1:]  # the first one warms up
    blocks = sum(close for _, close in counted)
    assert blocks >= launch_module.MIN_ROUNDS
    assert counted[-1][1], "the last round closes a block"
    assert sum(calls for calls, _ in counted) / blocks >= 40
    assert found["a.p95"].rounds == blocks
    assert found["a.p95"].ratio > math.log(1.3), "the tail is seen"
    assert found["a.p50"].ratio == pytest.approx(0)


@pytest.mark.parametrize("seconds", [1e-5, 0.0013, 0.005, 0.02])
def test_the_median_of_a_round_is_one_of_its_calls(monkeypatch: pytest.MonkeyPatch, seconds: float):
    _, side = rounds(monkeypatch, seconds, "p50")
    assert all(calls % 2 == 1 for calls, _ in side.asked)


def test_rounds_go_on_for_their_share_and_both_sides_begin_equally_often(monkeypatch: pytest.MonkeyPatch):
    _, side = rounds(monkeypatch, 0.001, "p50")
    counted = side.asked[1:]
    assert len(counted) % 2 == 0
    assert 60 < len(counted) < 80, "1.5 s, 11 calls of 1 ms on each side"
    assert not any(close for _, close in counted), "nobody asks for a tail"


@pytest.mark.parametrize("asked", [("p50",), ("p50", "p95")])
def test_after_the_deadline_only_the_first_few_are_made(monkeypatch: pytest.MonkeyPatch, asked: tuple[str]):
    found, side = rounds(monkeypatch, 0.001, *asked, deadline=0.0)
    assert {f"a.{statistic}" for statistic in asked} <= set(found)
    assert len(side.asked) - 1 == launch_module.MIN_ROUNDS * (4 if "p95" in asked else 1)


@pytest.mark.parametrize(("seconds", "group"), [(0.3e-6, 34), (4e-6, 3), (10e-6, 1), (0.02, 1)])
def test_both_sides_time_equally_many_short_calls_together(
    monkeypatch: pytest.MonkeyPatch, seconds: float, group: int
):
    """As many as the faster side needs."""
    _, side = rounds(monkeypatch, seconds, "p50", early=1.5)
    assert side.group == group


def test_rounds_stay_short_whatever_is_asked(monkeypatch: pytest.MonkeyPatch):
    """A percentile that needs many calls makes blocks longer, and no round."""
    one, other = (rounds(monkeypatch, 0.004, *asked)[1] for asked in (("p50",), ("p50", "p95", "p99")))
    assert {calls for calls, _ in one.asked} == {calls for calls, _ in other.asked}
    assert len(other.asked) > len(one.asked)


def test_without_enough_calls_a_percentile_says_nothing(monkeypatch: pytest.MonkeyPatch):
    """It would be the median under another name, and cleared."""
    found, _ = rounds(monkeypatch, 0.2, "p50", "p95")
    assert "a.p95" not in found
    assert "a.p50" in found


def test_a_percentile_that_takes_too_long_costs_no_other_one_its_comparison(monkeypatch: pytest.MonkeyPatch):
    assert 40 * 0.02 <= LONGEST_BLOCK < 200 * 0.02
    found, _ = rounds(monkeypatch, 0.02, "p95", "p99")
    assert "a.p95" in found
    assert "a.p99" not in found
