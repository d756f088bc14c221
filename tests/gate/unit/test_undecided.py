"""What would decide a metric that stayed open: minutes, or a tolerance, with figures of the run."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import LOOKS, Evidence, Pair, weigh
from gate.judge.undecided import what_decides


def shown(ratio: float, noise: float, launches: int = 8, seed: int = 1) -> Evidence:
    chance = random.Random(seed)
    pairs = [Pair(ratio + chance.gauss(0, noise), noise, 10.0, 40) for _ in range(launches)]
    return replace(weigh("a.p50", pairs, 1), seconds=20.0)


def test_what_more_launches_would_decide_has_its_minutes():
    evidence = shown(0.05, 0.02, launches=4)
    left = evidence.launches_left("lower", 0.1)
    assert evidence.decide("lower", 0.1) == "inconclusive"
    assert left is not None
    assert what_decides(evidence, "lower", 0.1).startswith(f"about {math.ceil(left * 20 / 60)} min more")


def test_what_they_would_not_decide_has_its_tolerance():
    text = what_decides(shown(0.101, 0.1), "lower", 0.1)
    assert "more time would not decide it" in text
    tolerance = int(text.rpartition("a tolerance of ")[2].removesuffix(" %")) / 100
    assert shown(0.101, 0.1).decide("lower", tolerance) == "cleared"
    assert "a limit with more room" in what_decides(shown(0.101, 0.1), "lower", 0.1, limit=True)


def test_what_was_not_measured_needs_time():
    assert "--again" in what_decides(None, "lower", 0.1)


@given(st.floats(0.0, 0.4), st.floats(0.005, 0.2), st.sampled_from(["lower", "higher"]), st.integers(0, 99))
def test_the_bearable_tolerance_is_the_smallest_that_clears(ratio: float, noise: float, better, seed: int):
    evidence = shown(ratio if better == "lower" else -ratio, noise, seed=seed)
    bearable = evidence.bearable(better)
    if 0.001 < bearable < 0.9:
        assert evidence.decide(better, 1.01 * bearable) == "cleared"
        assert evidence.decide(better, 0.99 * bearable) != "cleared"


@pytest.mark.parametrize("ratio", [0.02, 0.12])
def test_so_many_launches_do_decide_it(ratio: float):
    """In most repetitions, where the noise stays as it is."""
    decided = 0
    for seed in range(60):
        evidence = shown(ratio, 0.02, launches=4, seed=seed)
        left = (
            evidence.launches_left("lower", 0.06) if evidence.decide("lower", 0.06) == "inconclusive" else 0
        )
        if left is None:
            continue
        assert not left or 4 + left in LOOKS
        decided += shown(ratio, 0.02, launches=4 + left, seed=seed).decide("lower", 0.06) != "inconclusive"
    assert decided >= 40


@pytest.mark.parametrize("rank", [1, 20, 10**9])
def test_the_figures_of_few_launches_late_in_the_order_are_no_nonsense(rank: int):
    """What a launch measures once has bounds of many digits there."""
    pairs = [Pair(ratio, 0.02, 10.0, 1) for ratio in (1.4, -0.1, 0.4)]
    evidence = weigh("a.p50", pairs, rank)
    assert all(-1 <= bound < 2e6 for bound in evidence.interval)
    for better in ("lower", "higher"):
        assert len(what_decides(evidence, better, 0.1)) < 120


def test_no_tolerance_of_everything_is_proposed():
    text = what_decides(shown(-0.1, 3.0), "higher", 0.1)
    assert "tolerance" not in text
    assert "a quieter one would" in text


def test_nobody_waits_for_a_day():
    assert "min more" not in what_decides(replace(shown(0.05, 0.02, launches=4), seconds=9e4), "lower", 0.1)
