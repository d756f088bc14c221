import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.changepoints import change_points, noise, penalty


def noisy(levels, sd, seed):
    chance = random.Random(seed)
    return [level * math.exp(chance.gauss(0, sd)) for level in levels]


def indices(values):
    return [step.index for step in change_points(values)]


def test_a_step_is_found_where_it_is_with_its_size():
    (step,) = change_points([100, 101, 99, 100, 110, 111, 109, 110])
    assert (step.index, step.before, step.after) == (4, 100, 110)
    assert step.change == pytest.approx(0.1)


def test_two_steps_in_opposite_directions():
    assert indices(noisy([100] * 8 + [120] * 8 + [90] * 8, 0.01, 1)) == [8, 16]


def test_an_exact_count_has_no_noise_and_each_step_counts():
    assert indices([5.0] * 6 + [6.0] * 4) == [6]


@pytest.mark.parametrize(
    "values", [[], [1.0], [1.0, 2.0, 3.0, 4.0], [0.0] * 9, [7.0] * 9, [0, 0, 0, 0, 0, 1]]
)
def test_nothing_is_said_without_a_level_to_compare(values):
    assert change_points(values) == ()


def test_values_without_logarithm_are_compared_as_shares_of_the_centre():
    assert indices([-10, -10.1, -9.9, -10, -5, -5.1, -4.9, -5]) == [4]


@pytest.mark.parametrize("place", [1, 6, 11])
def test_one_wild_run_is_no_level(place):
    values = noisy([100] * 12, 0.02, place)
    values[place] *= 3
    assert indices(values) == []


def test_flat_noise_has_few_change_points():
    false = sum(bool(indices(noisy([100] * 20, 0.02, seed))) for seed in range(200))
    assert false <= 6  # 0.5-1 % were measured over 2,000 series


def test_a_step_of_ten_percent_in_two_percent_noise_is_located():
    hits = [indices(noisy([100] * 10 + [110] * 10, 0.02, seed)) for seed in range(100)]
    assert sum(any(abs(index - 10) <= 1 for index in hit) for hit in hits) >= 97
    assert sum(hit == [10] for hit in hits) >= 85


def test_the_noise_of_a_creep_and_of_a_step_is_that_of_the_runs():
    flat = noise(noisy([100] * 200, 0.02, 1))
    assert flat == pytest.approx(0.02, rel=0.25)
    assert noise(noisy([100 * 1.02**i for i in range(200)], 0.02, 1)) == pytest.approx(flat, rel=0.1)
    assert noise(noisy([100] * 100 + [200] * 100, 0.02, 1)) == pytest.approx(flat, rel=0.1)


@given(
    st.lists(st.floats(1, 100), min_size=5, max_size=25),
    st.sampled_from([1e-3, 2.0, 1e3]),
)
def test_units_do_not_matter(values, factor):
    assert indices([value * factor for value in values]) == indices(values)


@given(st.lists(st.sampled_from([1.0, 1.1, 10.0, 11.0]), min_size=5, max_size=25))
def test_a_level_lasts_at_least_three_runs(values):
    edges = [0, *indices(values), len(values)]
    assert all(end - start >= 3 for start, end in pairwise(edges))


def test_a_cut_costs_more_than_two_outliers_save():
    assert min(penalty(count) for count in range(5, 1000)) > 2 * 3.0**2
