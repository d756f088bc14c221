import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import ERROR_RATE, MAX_LOOKS, MIN_LAUNCHES, weigh

ratios = st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=12)


@given(ratios, st.integers(1, 200))
def test_the_estimate_lies_inside_its_interval(values: list[float], metrics: int):
    evidence = weigh("a.p50", values, metrics)
    assert evidence.low <= evidence.estimate <= evidence.high


@given(ratios, st.randoms(use_true_random=False))
def test_the_order_of_launches_does_not_matter(values: list[float], rnd: random.Random):
    mixed = rnd.sample(values, len(values))
    one, other = weigh("a.p50", values, 5), weigh("a.p50", mixed, 5)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


@given(ratios, st.floats(0.001, 0.5))
def test_flipping_the_direction_mirrors_the_decision(values: list[float], tolerance: float):
    """Time that grew by a factor and throughput that shrank by it are the same news."""
    slower = weigh("a.p50", values, 5).decide("lower", tolerance)
    mirrored = 1 - 1 / (1 + tolerance)
    assert weigh("a.throughput", [-value for value in values], 5).decide("higher", mirrored) == slower


@given(st.lists(st.floats(0.09, 0.11), min_size=MIN_LAUNCHES, max_size=8))
def test_more_of_the_same_never_weakens(values: list[float]):
    assert weigh("a.p50", values * 2, 5).low >= weigh("a.p50", values, 5).low - 1e-9


@pytest.mark.parametrize(
    ("values", "better", "decision"),
    [
        ([0.2] * 3, "lower", "confirmed"),
        ([0.2] * 2, "lower", "inconclusive"),
        ([0.0] * 4, "lower", "cleared"),
        ([-0.2] * 4, "lower", "cleared"),
        ([-0.2] * 3, "higher", "confirmed"),
        ([0.2] * 4, "higher", "cleared"),
        ([0.05] * 9, "lower", "cleared"),
        ([-0.3, 0.5, 0.1, 0.4], "lower", "inconclusive"),
    ],
)
def test_decisions(values: list[float], better, decision: str):
    assert weigh("a.p50", values, 1).decide(better, 0.1) == decision


def test_unchanged_code_is_hardly_ever_confirmed():
    """10,000 metrics of unchanged code, looked at after every launch, with a tolerance of nothing.

    The stated error rate is for a whole pull request; here it is asked of 100 pull requests of 100 metrics.
    """
    rnd = random.Random(1)
    wrong = 0
    for _ in range(100):
        spoiled = False
        for _ in range(100):
            seen = [rnd.gauss(0, 0.02) for _ in range(MAX_LOOKS)]
            spoiled |= any(
                weigh("a", seen[:n], 100).decide("lower", 0.0) == "confirmed"
                for n in range(MIN_LAUNCHES, MAX_LOOKS + 1)
            )
        wrong += spoiled
    assert wrong <= 3 + 100 * ERROR_RATE


def test_a_change_well_over_its_tolerance_is_found():
    rnd = random.Random(2)
    found = sum(
        weigh("a", [rnd.gauss(0.2, 0.01) for _ in range(6)], 20).decide("lower", 0.1) == "confirmed"
        for _ in range(200)
    )
    assert found == 200
