"""Accepted steps: the window falls into levels, and only the present one is compared with."""

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.baseline import Permission
from gate.baseline.records import SuiteRecords
from gate.segments import present_level
from gate.statistics import screen
from tests.gate.build import accept, baseline_from, judge, metric, policy_of, run_of, suite_run

NOISE = (0.99, 1.01, 1.0, 0.985, 1.015, 1.005)
OLD = [100 * factor for factor in NOISE]
NEW = [130 * factor for factor in NOISE]

values = st.lists(st.floats(1, 1000), min_size=1, max_size=30)


@given(values)
def test_without_an_accepted_step_a_history_is_one_level(history: list[float]):
    level = present_level(history)
    assert level.values == tuple(history)
    assert (level.runs, level.segments) == (len(history), 1)


def test_an_accepted_step_begins_a_new_level():
    level = present_level([*OLD, 130.0], [len(OLD)])
    assert median(level.values) == pytest.approx(130, rel=0.02)
    assert (level.runs, level.segments) == (1, 2)
    assert level.values[0] == pytest.approx(130 * 0.99, rel=0.01), "the old runs still tell the noise"


def test_the_new_level_is_compared_with_and_the_old_one_is_not():
    mixed = screen([*OLD, *NEW[:3]], 145, "lower")
    level = present_level([*OLD, *NEW[:3]], [len(OLD)])
    seen = screen(level.values, 145, "lower", at_level=level.runs, segments=level.segments)
    assert seen.centre == pytest.approx(130, rel=0.01)
    assert mixed.centre < 105
    assert (seen.runs, mixed.runs) == (3, 9)


def test_a_reverted_change_returns_to_the_old_level():
    level = present_level([*OLD, *NEW[:4], *OLD[:4]], [len(OLD)])
    assert median(level.values) == pytest.approx(100, rel=0.02)
    assert (level.runs, level.segments) == (len(OLD) + 4, 2)


def test_a_revert_that_was_accepted_returns_at_once():
    level = present_level([*OLD, *NEW[:2], 100.5], [len(OLD), len(OLD) + 2])
    assert level.runs == len(OLD) + 1


@given(st.floats(0.01, 100))
def test_levels_scale_with_the_unit(factor: float):
    here = present_level([*OLD, *NEW], [len(OLD)])
    there = present_level([factor * value for value in (*OLD, *NEW)], [len(OLD)])
    assert there.values == pytest.approx([factor * value for value in here.values])
    assert (there.runs, there.segments) == (here.runs, here.segments)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=12), st.lists(st.integers(-1, 13), max_size=3))
def test_any_numbers_give_as_many_values(history: list[float], marks: list[int]):
    level = present_level(history, marks)
    assert len(level.values) == len(history)
    assert 1 <= level.runs <= len(history)


def accepted(numbers: list[float], waived_at: int) -> SuiteRecords:
    known = None
    for number, value in enumerate(numbers):
        run = suite_run([metric("api.home.p50", value)], created=1_760_000_000 + number * 86_400)
        waived = (Permission("api.home.p50", "anna", "planned"),) if number == waived_at else ()
        known = accept(known, run, f"c{number}", waived=waived)
    assert known is not None
    return known


def test_after_a_waived_change_its_level_is_no_regression_and_no_improvement():
    known = accepted([*OLD, 130.0], len(OLD))
    run = run_of(suite_run([metric("api.home.p50", 131.0)]))
    kinds = {f.kind for f in judge(run, baseline_from(known), policy_of()).findings}
    assert kinds.isdisjoint({"regression", "improvement"})
    unmarked = accepted([*OLD, 130.0], -1)
    kinds = {f.kind for f in judge(run, baseline_from(unmarked), policy_of()).findings}
    assert "regression" in kinds


def test_what_gets_worse_than_the_new_level_is_seen():
    known = accepted([*OLD, *NEW], len(OLD))
    run = run_of(suite_run([metric("api.home.p50", 160.0)]))
    (found,) = [f for f in judge(run, baseline_from(known), policy_of()).findings if f.kind == "regression"]
    assert found.baseline == pytest.approx(130, rel=0.01)
    assert f"({len(NEW)} accepted runs)" in found.message
