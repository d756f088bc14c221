import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.confirm.rounds import ratio_of_medians
from gate.evidence import (
    ERROR_RATE,
    LOOKS,
    MAX_LAUNCHES,
    MIN_LAUNCHES,
    ONE_SHOT_ERROR,
    PRIOR_SPREAD,
    Evidence,
    Pair,
    error_share,
    visible,
    weigh,
)

ROUNDS = 20


def pairs(ratios: list[float], error: float = 0.002, base: float = 1.0) -> list[Pair]:
    return [Pair(ratio, error, base, ROUNDS) for ratio in ratios]


def weighed(ratios: list[float], rank: int = 1, error: float = 0.002) -> Evidence:
    return weigh("a.p50", pairs(ratios, error), rank)


ratios = st.sampled_from((1, 2, *LOOKS[:7])).flatmap(
    lambda number: st.lists(st.floats(-0.5, 0.5), min_size=number, max_size=number)
)
ranks = st.integers(1, 200)


@given(ratios, ranks)
def test_the_estimate_lies_inside_its_interval_and_everything_is_a_number(values: list[float], rank: int):
    evidence = weighed(values, rank)
    assert evidence.low <= evidence.estimate <= evidence.high
    assert all(map(math.isfinite, (evidence.low, evidence.high, evidence.change, *evidence.interval)))


@given(ratios, ranks, st.randoms(use_true_random=False))
def test_the_order_of_launches_does_not_matter(values: list[float], rank: int, rnd: random.Random):
    one, other = weighed(values, rank), weighed(rnd.sample(values, len(values)), rank)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


@given(ratios, st.floats(0.001, 0.5), ranks)
def test_flipping_the_direction_mirrors_the_decision(values: list[float], tolerance: float, rank: int):
    """Time that grew by a factor and throughput that shrank by it are the same news."""
    slower = weighed(values, rank).decide("lower", tolerance)
    mirrored = 1 - 1 / (1 + tolerance)
    assert weighed([-value for value in values], rank).decide("higher", mirrored) == slower


@given(ratios, st.floats(1e-6, 1e6), st.floats(0.0, 0.1))
def test_the_unit_does_not_matter(values: list[float], scale: float, tolerance: float):
    one = weigh("a.p50", pairs(values), 1)
    other = weigh("a.p50", pairs(values, base=scale), 1)
    assert one.decide("lower", tolerance, 0.01) == other.decide("lower", tolerance, 0.01 * scale)


@given(st.lists(st.floats(0.09, 0.11), min_size=MIN_LAUNCHES, max_size=5), ranks)
def test_more_of_the_same_never_weakens(values: list[float], rank: int):
    assert weighed(values * 2, rank).low >= weighed(values, rank).low - 1e-9


@given(ratios, st.integers(1, 100), st.integers(1, 100))
def test_a_later_place_in_the_order_only_widens(values: list[float], one: int, more: int):
    assert weighed(values, one + more).low <= weighed(values, one).low


def test_all_places_together_have_one_share():
    """However many metrics there are: one more at the end changes nothing for the others."""
    total = math.fsum(error_share(rank) for rank in range(1, 200_000))
    assert 0.9 < total < 1


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
    assert weighed(values).decide(better, 0.1) == decision


def test_what_no_number_of_launches_would_decide_is_given_up():
    wild = [0.4, -0.5, 0.1, 0.6, -0.3, -0.2]
    assert weighed(wild).hopeless("lower", 0.1)
    assert not weighed(wild[:5]).hopeless("lower", 0.1)
    assert not weighed([0.031, 0.02, 0.035, 0.028, 0.04, 0.025], 12).hopeless("lower", 0.01)
    assert weighed(wild).hopeless("higher", 0.1)


@given(ratios, ranks, st.floats(0.001, 0.5))
def test_what_is_decided_is_not_given_up(values: list[float], rank: int, tolerance: float):
    evidence = weighed(values, rank)
    if evidence.decide("lower", tolerance) != "inconclusive":
        assert not evidence.hopeless("lower", tolerance)


def test_between_two_looks_nothing_is_decided_anew():
    values = [0.03, -0.02, 0.04, 0.01, 0.02, 0.03]
    assert 7 not in LOOKS
    assert weighed([*values, 5.0]) == weighed(values)


def test_the_floor_is_a_tolerance_too():
    evidence = weigh("a.p50", pairs([0.2] * 5, base=0.001), 1)
    assert evidence.decide("lower", 0.01) == "confirmed"
    assert evidence.decide("lower", 0.01, floor=0.0005) == "cleared"


def test_a_launch_with_a_noisy_neighbour_counts_for_little():
    good = pairs([0.001, -0.002, 0.003], error=0.003)
    bad = Pair(2.0, 0.6, 1.0, ROUNDS)
    assert abs(weigh("a.p50", [*good, bad], 1).estimate) < 0.005


def test_noise_within_the_launches_widens_before_launches_disagree():
    assert weighed([0.05] * 3, error=0.1).low < 0 < weighed([0.05] * 3, error=0.001).low


@pytest.mark.parametrize("error", [0.001, 0.004, 0.03])
def test_unchanged_code_is_hardly_ever_confirmed(error: float):
    """100 pull requests of 100 unchanged metrics, looked at after each launch, no tolerance."""
    spread = math.hypot(PRIOR_SPREAD, error)
    wrong = sum(_spoiled(random.Random(seed), 100, spread, error) for seed in range(100))
    assert wrong <= 3 + 100 * ERROR_RATE


@pytest.mark.parametrize("error", [0.001, 0.01, 0.03])
def test_launches_that_lie_further_apart_than_their_rounds_say(error: float):
    """10,000 trials of the first question, whose share is the largest, with twice the spread assumed."""
    rnd = random.Random(7)
    spread = 2 * math.hypot(PRIOR_SPREAD, error)
    wrong = sum(_wrong(rnd, 1, spread, error) for _ in range(10_000))
    assert wrong <= 10_000 * 2 * ERROR_RATE


@pytest.mark.parametrize("rounds", [4, 6, 12])
@pytest.mark.parametrize("speeds", [(1.0,), (1.0, 1.0, 2.0)], ids=["one speed", "some rounds at half speed"])
def test_few_rounds_that_agree_by_chance_accuse_nobody(rounds: int, speeds: tuple[float, ...]):
    """1,500 trials from the rounds up: what four rounds say of their error is little more than a guess."""
    rnd = random.Random(rounds)

    def measured() -> float:
        return rnd.choice(speeds) * math.exp(rnd.gauss(0, 0.1))

    def launch() -> Pair:
        pair = ratio_of_medians([(measured(), measured()) for _ in range(rounds)])
        assert pair
        return pair

    trials, wrong = 1_500, 0
    for _ in range(trials):
        seen: list[Pair] = []
        for launches in LOOKS[:6]:
            seen += [launch() for _ in range(launches - len(seen))]
            if weigh("a", seen, 1).decide("lower", 0.0) == "confirmed":
                wrong += 1
                break
    assert wrong / trials < 1.3 * ERROR_RATE * error_share(1)


def test_a_launch_that_looks_steadier_than_all_others_does_not_decide_alone():
    noisy = pairs([-0.02, 0.01], error=0.2)
    lucky = Pair(0.33, 0.03, 1.0, 4)
    assert weigh("a", [lucky, *noisy], 1).decide("lower", 0.1) == "inconclusive"


@given(ratios)
def test_what_is_shown_of_both_sides_is_what_was_estimated(values: list[float]):
    evidence = weighed(values)
    assert evidence.head / evidence.base == pytest.approx(1 + evidence.change)


def _spoiled(rnd: random.Random, metrics: int, spread: float, error: float) -> bool:
    return any(_wrong(rnd, rank, spread, error) for rank in range(1, metrics + 1))


def _wrong(rnd: random.Random, rank: int, spread: float, error: float) -> bool:
    seen = pairs([rnd.gauss(0, spread) for _ in range(MAX_LAUNCHES)], error)
    return any(weigh("a", seen[:n], rank).decide("lower", 0.0) == "confirmed" for n in LOOKS)


@pytest.mark.parametrize("launches", [3, 4, 8, 10])
@pytest.mark.parametrize("error", [0.001, 0.02])
def test_what_is_called_visible_is_seen(launches: int, error: float):
    rnd = random.Random(2)
    spread = math.hypot(PRIOR_SPREAD, error)
    shift = math.log1p(visible(spread, launches, 20))
    found = sum(
        weighed([rnd.gauss(shift, spread) for _ in range(launches)], 20, error).low > 0 for _ in range(2000)
    )
    assert 0.93 < found / 2000 < 0.998


@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_what_is_measured_once_may_be_as_noisy_as_it_likes(spread: float):
    """Durations and peaks move by more than any prior knows; the error rate holds all the same."""
    chance = random.Random(11)
    trials, wrong = 3_000, 0
    for _ in range(trials):
        pairs: list[Pair] = []
        for launches in LOOKS[:6]:
            while len(pairs) < launches:
                ratio = chance.gauss(0, spread)
                pairs.append(Pair(ratio, ONE_SHOT_ERROR, 1.0, rounds=1))
            if weigh("a", pairs, 1).decide("lower", 0.0) == "confirmed":
                wrong += 1
                break
    assert wrong / trials < 1.2 * ERROR_RATE * error_share(1)


def test_what_is_measured_once_and_steady_is_decided_early():
    pairs = [Pair(0.0, ONE_SHOT_ERROR, 1.0, rounds=1)] * 4
    assert weigh("a", pairs, 1).decide("lower", 0.2) == "cleared"
    slower = [Pair(0.5, ONE_SHOT_ERROR, 1.0, rounds=1)] * 4
    assert weigh("a", slower, 1).decide("lower", 0.2) == "confirmed"


def test_what_is_measured_once_is_not_given_up_while_launches_could_decide_it():
    """Each launch makes Student's t narrower there, beside the root."""
    chance = random.Random(5)
    decided = 0
    for _ in range(100):
        pairs: list[Pair] = []
        for launches in LOOKS:
            while len(pairs) < launches:
                pairs.append(Pair(chance.gauss(0, 0.04), ONE_SHOT_ERROR, 1.0, rounds=1))
            evidence = weigh("a", pairs, 30)
            if evidence.decide("lower", 0.1) == "cleared":
                decided += 1
                break
            if evidence.hopeless("lower", 0.1):
                break
    assert decided > 90
