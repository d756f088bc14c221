import math
import random
from collections.abc import Sequence
from statistics import median

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gate.model import Metric
from gate.statistics import (
    FALSE_ALARMS,
    MIN_COMMON,
    PRIOR_SD,
    Moves,
    Share,
    common_shift,
    machine_share,
    moves,
    pooled_noise,
    screen,
    shift,
    t_quantile,
)

positive = st.floats(1e-6, 1e9)
histories = st.lists(positive, min_size=1, max_size=12)
directions = st.sampled_from(["lower", "higher"])
anything = st.floats(-1e6, 1e6)

# One-sided quantiles of Student's t as every textbook prints them (e.g. Hahn & Meeker, table J.3).
TEXTBOOK = {
    2: (2.920, 4.303, 6.965, 9.925, 22.327),
    3: (2.353, 3.182, 4.541, 5.841, 10.215),
    4: (2.132, 2.776, 3.747, 4.604, 7.173),
    5: (2.015, 2.571, 3.365, 4.032, 5.893),
    8: (1.860, 2.306, 2.896, 3.355, 4.501),
    10: (1.812, 2.228, 2.764, 3.169, 4.144),
    20: (1.725, 2.086, 2.528, 2.845, 3.552),
    30: (1.697, 2.042, 2.457, 2.750, 3.385),
    120: (1.658, 1.980, 2.358, 2.617, 3.160),
}


@pytest.mark.parametrize(
    ("degrees", "p", "expected"),
    [
        (degrees, p, value)
        for degrees, row in TEXTBOOK.items()
        for p, value in zip((0.95, 0.975, 0.99, 0.995, 0.999), row, strict=True)
    ],
)
def test_quantiles_of_students_t_are_those_of_the_textbook(degrees, p, expected):
    assert t_quantile(p, degrees) == pytest.approx(expected, abs=0.0006, rel=0.0005)


@given(st.floats(0.5, 1 - 1e-9), st.floats(0.5, 1 - 1e-9), st.integers(3, 60))
def test_a_quantile_grows_with_its_probability(p, q, degrees):
    assume(q - p > 1e-4)
    assert 0 <= t_quantile(p, degrees) < t_quantile(q, degrees)


@given(st.floats(0.9, 1 - 1e-7), st.integers(3, 200))
def test_a_quantile_shrinks_with_more_degrees_of_freedom(p, degrees):
    assert t_quantile(p, degrees + 1) < t_quantile(p, degrees) * (1 + 1e-4)


@given(histories, positive, directions, st.randoms(use_true_random=False))
def test_the_order_of_the_history_does_not_matter(history, value, better, rnd):
    mixed = rnd.sample(history, len(history))
    assert screen(mixed, value, better) == screen(history, value, better)


@given(histories, positive, directions, st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(history, value, better, factor):
    here = screen(history, value, better)
    there = screen([old * factor for old in history], value * factor, better)
    assert there.worse == pytest.approx(here.worse, abs=1e-9)
    assert there.bound == pytest.approx(here.bound, rel=1e-6)
    assert there.change == pytest.approx(here.change, rel=1e-6, abs=1e-9)
    assert there.centre == pytest.approx(here.centre * factor, rel=1e-9)


@given(histories, positive)
def test_the_other_direction_sees_the_opposite(history, value):
    lower, higher = screen(history, value, "lower"), screen(history, value, "higher")
    assert lower.worse == -higher.worse
    assert (lower.suspect, lower.improved()) == (higher.improved(), higher.suspect)
    assert (lower.bound, lower.change) == (higher.bound, higher.change)


@given(histories, positive, directions)
def test_nothing_is_suspect_and_improved_at_once(history, value, better):
    found = screen(history, value, better)
    assert not (found.suspect and found.improved())
    assert found.bound > 0


@given(histories, positive, directions, st.integers(1, 1000), st.floats(-1, 1))
def test_positive_numbers_never_give_nan_or_infinity(history, value, better, metrics, expected):
    share = Share(expected, tuple(moves(history, better)))
    found = screen(history, value, better, share=share, metrics=metrics)
    assert all(math.isfinite(x) for x in (found.centre, found.change, found.worse, found.bound))
    assert found.runs == len(history)


@given(st.lists(anything, min_size=1, max_size=12), anything, directions)
@example([0.0], 0.0, "lower")
@example([0.0], 1.0, "higher")
@example([-1.0, 1.0], 3.0, "lower")
def test_no_number_at_all_gives_nan(history, value, better):
    found = screen(history, value, better)
    assert not any(math.isnan(x) for x in (found.centre, found.change, found.worse, found.bound))
    assert math.isfinite(found.bound)


@given(st.lists(st.floats(97, 103), min_size=1, max_size=10), st.integers(2, 4))
def test_the_same_history_again_narrows_a_quiet_interval(history, times):
    spread = 1.4826 * median(abs(math.log(value / median(history))) for value in history)
    assume(spread <= PRIOR_SD)
    assert screen(history * times, 100, "lower").bound < screen(history, 100, "lower").bound


@given(histories, positive, st.integers(1, 500))
def test_more_metrics_make_each_one_harder_to_suspect(history, value, metrics):
    alone, among = screen(history, value, "lower"), screen(history, value, "lower", metrics=metrics + 1)
    assert among.bound > alone.bound
    assert among.worse == alone.worse


@given(histories, positive, st.floats(-2, 2))
def test_what_the_machine_explains_is_taken_out(history, value, expected):
    alone = screen(history, value, "lower")
    shared = screen(history, value, "lower", share=Share(expected, tuple(moves(history, "lower"))))
    assert shared.worse == pytest.approx(alone.worse - expected)
    assert shared.bound == alone.bound


# The machine's part. A table has a row per accepted run and one more for the new run.


def share(own: Sequence[float], others: Sequence[Sequence[float | None]]) -> Share:
    """What a table of the other metrics says of one."""
    rows = [Moves([("other", move) for move in row] + [("own", 9.0)]).without("own") for row in others]
    return machine_share(own, rows)


subjects = st.sampled_from("abc")


@given(st.lists(st.tuples(subjects, st.none() | st.floats(-2, 2)), max_size=12), subjects)
def test_the_median_without_one_subject_is_the_median_of_the_rest(moves, subject):
    rest = [max(-0.5, min(0.5, move)) for name, move in moves if name != subject and move is not None]
    assert Moves(moves).without(subject) == (pytest.approx(median(rest) if rest else 0.0), len(rest))


move = st.floats(-1, 1)
tables = st.integers(1, 10).flatmap(
    lambda width: st.lists(
        st.lists(st.none() | move, min_size=width, max_size=width), min_size=2, max_size=14
    )
)


@given(tables, st.data())
def test_the_machine_explains_between_nothing_and_all_of_what_the_others_lost(others, data):
    own = data.draw(st.lists(move, min_size=len(others) - 1, max_size=len(others) - 1))
    found = share(own, others)
    now = [value for value in others[-1] if value is not None]
    factor = median(max(-0.5, min(0.5, value)) for value in now) if now else 0.0
    assert min(0, factor) <= found.expected <= max(0, factor)
    assert len(found.moves) == len(own)
    assert all(map(math.isfinite, found.moves))


@given(tables, st.data())
def test_the_order_of_runs_and_of_metrics_does_not_matter_to_the_machine(others, data):
    own = data.draw(st.lists(move, min_size=len(others) - 1, max_size=len(others) - 1))
    order = data.draw(st.permutations(range(len(own))))
    columns = data.draw(st.permutations(range(len(others[0]))))
    mixed = [[others[row][column] for column in columns] for row in [*order, len(own)]]
    here, there = share(own, others), share([own[row] for row in order], mixed)
    assert there.expected == pytest.approx(here.expected, abs=1e-12)
    assert list(there.moves) == pytest.approx([here.moves[row] for row in order], abs=1e-12)


def test_a_metric_that_always_followed_is_expected_to_follow():
    common = [0.2, -0.1, 0.15, -0.2, 0.1, -0.15, 0.0, 0.2, -0.2, 0.1]
    found = share(common, [[value] for value in [*common, -0.2]])
    assert found.expected == pytest.approx(-0.2, abs=0.005)
    assert max(map(abs, found.moves)) < 0.005


def test_a_metric_that_never_followed_is_not_expected_to():
    common = [0.2, -0.2] * 5
    found = share([0.01, 0.01, -0.01, -0.01, 0.0] * 2, [[value] for value in [*common, 0.3]])
    assert abs(found.expected) < 0.01


@pytest.mark.parametrize(
    ("others", "now", "expected"),
    [(MIN_COMMON - 1, 0.3, 0.3), (MIN_COMMON - 2, 0.3, 0), (MIN_COMMON - 1, -0.3, 0)],
)
def test_before_history_taught_anything_many_metrics_must_agree_that_the_machine_is_slow(
    others, now, expected
):
    calm = [[0.0] * others] * 5
    assert share([0.0] * 5, [*calm, [now] * others]).expected == pytest.approx(expected)
    assert share([0.0], [[0.0] * others, [now] * others]).expected == pytest.approx(expected)


@pytest.mark.parametrize(("runs", "visible"), [(1, 0.2898), (2, 0.1987), (5, 0.1290), (30, 0.0571)])
def test_few_runs_judge_coarsely_and_more_runs_sharpen(runs, visible):
    """By hand from a t table (0.98): 2.999, 2.757, 2.612, 2.612 with 4, 5, 6, 6 degrees of freedom."""
    found = screen([100.0] * runs, 100.0, "lower")
    assert found.visible == pytest.approx(visible, abs=0.0005)
    assert not found.suspect
    assert screen([100.0] * runs, 100 * (1 + visible + 0.01), "lower").suspect
    assert not screen([100.0] * runs, 100 * (1 + visible - 0.01), "lower").suspect


@pytest.mark.parametrize(
    ("history", "value", "better", "expected"),
    [
        ([100], 200, "lower", math.log(2)),
        ([100], 200, "higher", -math.log(2)),
        ([100, 50, 400], 50, "lower", -math.log(2)),
        ([0], 0, "lower", 0),
        ([0], 5, "lower", math.inf),
        ([0], 5, "higher", -math.inf),
        ([0], -5, "lower", -math.inf),
        ([-10], -5, "lower", 0.5),
        ([-10], -15, "lower", -0.5),
        ([-10], 10, "higher", -2),
        ([10], 0, "lower", -1),
        ([10], -10, "lower", -2),
    ],
)
def test_a_shift_is_a_log_ratio_or_a_share_of_the_centre(history, value, better, expected):
    assert shift(history, value, better) == pytest.approx(expected)


def test_anything_beside_a_history_of_zeros_is_suspect():
    assert screen([0.0] * 5, 0.01, "lower").suspect
    assert screen([0.0] * 5, 0.0, "lower").worse == 0
    assert screen([0.0] * 5, 0.01, "higher").improved()


@given(st.lists(st.floats(-2, 2), max_size=30))
def test_a_common_shift_is_never_negative_and_needs_many_metrics(shifts):
    found = common_shift(shifts)
    assert found >= 0
    if len(shifts) < MIN_COMMON:
        assert found == 0


@pytest.mark.parametrize(
    ("shifts", "expected"),
    [
        ([0.3] * (MIN_COMMON - 1), 0),
        ([0.3] * MIN_COMMON, 0.3),
        ([-0.3] * MIN_COMMON, 0),
        ([0.3] * (MIN_COMMON - 1) + [math.inf], 0),
        ([0.3] * MIN_COMMON + [math.inf], 0.3),
        ([0.0] * 6 + [0.9] * 4, 0),
        ([0.0] * 4 + [0.9] * 6, 0.9),
        ([], 0),
    ],
)
def test_the_common_shift_is_what_half_of_the_metrics_lost(shifts, expected):
    assert common_shift(shifts) == expected


@pytest.mark.parametrize(
    ("statistic", "count", "enough"),
    [("p95", 399, False), ("p95", 400, True), ("p99", 1999, False), ("p99", 2000, True), ("p50", 1, True),
     ("cpu", 1, True), ("", 1, True)],
)  # fmt: skip
def test_a_percentile_needs_twenty_values_beyond_it(statistic, count, enough):
    name = f"api.{statistic}" if statistic else "api"
    assert Metric(name, "ms", "lower", 1.0, count, exact=False, suite="", nodeid="").few is not enough


def simulate(noise: float, runs: int, *, worse: float = 1.0, metrics: int = 40, trials: int = 80):
    """Share of runs with a suspect, and share of single metrics suspected, on lognormal noise."""
    rnd = random.Random(20)
    alarms = found = 0
    for _ in range(trials):
        histories = [[rnd.lognormvariate(0, noise) for _ in range(runs)] for _ in range(metrics)]
        prior = pooled_noise([moves(old, "lower") for old in histories])
        suspects = sum(
            screen(old, rnd.lognormvariate(0, noise) * worse, "lower", metrics=metrics, prior=prior).suspect
            for old in histories
        )
        alarms += suspects > 0
        found += suspects
    return alarms / trials, found / trials / metrics


@pytest.mark.parametrize(("noise", "runs"), [(0.03, 1), (0.03, 5), (0.03, 30), (0.05, 10), (0.05, 30)])
def test_unchanged_code_is_rarely_suspected(noise, runs):
    alarms, _ = simulate(noise, runs)
    assert alarms <= 3 * FALSE_ALARMS


@pytest.mark.parametrize(("noise", "runs"), [(0.12, 2), (0.12, 5), (0.12, 10), (0.2, 5)])
def test_noisy_unchanged_code_is_rarely_suspected_because_all_metrics_show_the_noise(noise, runs):
    alarms, _ = simulate(noise, runs)
    assert alarms <= 3 * FALSE_ALARMS


@pytest.mark.parametrize(("noise", "runs", "power"), [(0.03, 5, 0.98), (0.05, 10, 0.97), (0.05, 30, 0.99)])
def test_two_thirds_slower_is_seen_among_forty_metrics(noise, runs, power):
    _, seen = simulate(noise, runs, worse=1.67, trials=40)
    assert seen >= power


def test_one_run_sees_double_the_time_of_a_handful_of_metrics():
    _, seen = simulate(0.03, 1, worse=2.0, metrics=5, trials=100)
    assert seen >= 0.98


@given(st.lists(histories, max_size=6))
def test_pooled_noise_is_never_below_the_prior_and_never_nan(many):
    many = [moves(old, "lower") for old in many]
    found = pooled_noise(many)
    assert found >= PRIOR_SD
    assert math.isfinite(found)
    assert pooled_noise(list(reversed(many))) == pytest.approx(found)


@pytest.mark.parametrize("many", [[], [[5.0]], [[5.0], [7.0]], [[0.0, 0.0, 1.0]], [[3.0, 3.0, 3.0]]])
def test_without_evidence_the_prior_stands(many):
    assert pooled_noise([moves(old, "lower") for old in many]) == PRIOR_SD


@pytest.mark.parametrize("noise", [0.1, 0.2])
def test_pooled_noise_is_that_of_the_histories(noise):
    rnd = random.Random(3)
    many = [[rnd.lognormvariate(0, noise) for _ in range(10)] for _ in range(60)]
    assert pooled_noise([moves(old, "lower") for old in many]) == pytest.approx(noise, rel=0.15)


@pytest.mark.parametrize("wild", [[-0.001, 3.0, -0.002, 5.0, -0.001], [1e-6, 1e-2, 1e-6, 1e-2, 1e-4]])
def test_one_wild_metric_does_not_hide_the_others(wild):
    rnd = random.Random(3)
    many = [[rnd.lognormvariate(0, 0.02) for _ in range(5)] for _ in range(40)]
    prior = pooled_noise([moves(old, "lower") for old in [*many, wild]])
    assert screen(many[0], 1.5, "lower", metrics=41, prior=prior).suspect
