"""What rounds say of a tail: spells of the machine taken out, the operation's own tail kept."""

import math
import random
import sys
from statistics import median
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.confirm.child import Task
from gate.confirm.launch import Pace, _paired
from gate.evidence import Pair
from gate.measure.latency import without_spells
from gate.model import quantile, summarise

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


def test_a_tail_is_the_median_times_its_length():
    chance = random.Random(1)
    speeds = [chance.choice((1.0, 1.5)) for _ in range(12)]
    p50 = [(speed, 1.02 * speed) for speed in speeds]
    tail = [(2 * base, 3 * head) for base, head in p50]
    found = _paired({"p50": p50, "p95": tail, "cpu": p50})
    assert found["p95"] is not None
    assert found["p50"] is not None
    assert found["p95"].ratio == pytest.approx(math.log(1.02 * 1.5))
    assert found["p95"].base == pytest.approx(2 * median(speeds))
    assert found["p95"].head == pytest.approx(3 * 1.02 * median(speeds))


def test_without_a_median_a_tail_speaks_for_itself():
    found = _paired({"p95": [(1.0, 1.1), (1.0, 1.1)]})
    assert found["p95"] is not None
    assert found["p95"].ratio == pytest.approx(math.log(1.1))


def test_what_has_no_logarithm_is_no_pair():
    assert _paired({"p50": [(1.0, 1.0)], "p95": [(0.0, 1.0)]})["p95"] is None


class Scripted:
    """A side that answers rounds by itself."""

    def __init__(self, name: str, seconds: float, slow: int) -> None:
        self.side, self.seconds, self.each = SimpleNamespace(name=name), seconds, 1
        self.asked: list[int] = []
        self._slow, self._chance = slow, random.Random(slow)

    def ask(self, calls: int, _: str) -> dict[str, float]:
        self.asked.append(calls)
        latencies = [
            self.seconds * (2 if self._chance.randrange(100) < self._slow else 1) for _ in range(calls)
        ]
        return summarise(latencies) | {"p95": p95(without_spells(latencies)), "cpu": self.seconds}


def rounds(monkeypatch: pytest.MonkeyPatch, seconds: float, least: int) -> tuple[dict[str, Pair], int]:
    """What rounds say where 2 % of the base's calls and 12 % of the head's take twice as long."""
    sides = Scripted("base", seconds, 2), Scripted("head", seconds, 12)
    clock = iter(range(10**6))
    monkeypatch.setattr(
        launch_module, "time", SimpleNamespace(monotonic=lambda: 2 * least * seconds * next(clock))
    )
    pace = Pace(2, 1.5, math.inf)
    found = launch_module._rounds("a", sides, Task("", [], {"a": least}), pace)  # type: ignore[arg-type]
    return found, sides[0].asked[-1]


@pytest.mark.parametrize("seconds", [0.001, 0.005, 0.02])
def test_a_round_has_as_many_calls_as_its_percentile_needs(monkeypatch: pytest.MonkeyPatch, seconds: float):
    found, calls = rounds(monkeypatch, seconds, 40)
    assert calls >= 40
    assert found["a.p95"].ratio > math.log(1.3), "the tail is seen"
    assert found["a.p50"].ratio == pytest.approx(0)


def test_without_enough_calls_a_percentile_says_nothing(monkeypatch: pytest.MonkeyPatch):
    """It would be the median under another name, and cleared."""
    found, calls = rounds(monkeypatch, 0.2, 20)
    assert calls < 40
    assert "a.p95" not in found
    assert "a.p50" in found
