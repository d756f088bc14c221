"""The screen of whole suites: what holds for any numbers, and how often unchanged code is accused."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.judge.screening import Candidate, screen_suite
from gate.model import SuiteRun
from gate.segments import present_level
from gate.statistics import FALSE_ALARMS, MIN_COMMON
from gate.verdict import Verdict
from tests.gate.build import (
    baseline_from,
    baseline_of,
    judge,
    metric,
    of_kind,
    one,
    policy_of,
    remembered,
    run_of,
    suite_run,
)

RULE = policy_of().rule(metric("a.p50", 1))
HIGHER = policy_of({"*": "{better: higher}"}).rule(metric("a.p50", 1, better="higher"))

values = st.floats(10, 1000)


@st.composite
def suites(draw, least: int = 2):
    """Values of some metrics: a row per accepted run, and the new run's."""
    width = draw(st.integers(least, 12))
    row = st.lists(values, min_size=width, max_size=width)
    return draw(st.lists(row, min_size=1, max_size=12)), draw(row)


def candidates(rows, now, rule=RULE, better="lower") -> list[Candidate]:
    return [
        Candidate(
            metric(f"m{k}.p50", value, better=better),
            rule,
            present_level([row[k] for row in rows]),
            list(range(len(rows))),
        )
        for k, value in enumerate(now)
    ]


def close(here, there) -> None:
    for one_, other in zip(here, there, strict=True):
        assert one_.worse == pytest.approx(other.worse, abs=1e-9)
        assert one_.bound == pytest.approx(other.bound, rel=1e-9)


@given(suites(), st.data())
def test_the_order_of_accepted_runs_does_not_matter(suite, data):
    rows, now = suite
    mixed = data.draw(st.permutations(rows))
    close(screen_suite(candidates(mixed, now), 9), screen_suite(candidates(rows, now), 9))


@given(suites(), st.data())
def test_every_metric_may_have_its_own_unit(suite, data):
    rows, now = suite
    factors = data.draw(st.lists(st.floats(1e-3, 1e3), min_size=len(now), max_size=len(now)))
    scaled = [[value * f for value, f in zip(row, factors, strict=True)] for row in [*rows, now]]
    close(
        screen_suite(candidates(scaled[:-1], scaled[-1]), 9),
        screen_suite(candidates(rows, now), 9),
    )


@given(suites())
def test_a_rate_is_judged_like_its_time(suite):
    rows, now = suite
    rates = [[1 / value for value in row] for row in [*rows, now]]
    as_rates = candidates(rates[:-1], rates[-1], HIGHER, "higher")
    # The median of an even number of rates is not one over that of the times: compare with odd ones.
    if len(rows) % 2:
        close(screen_suite(as_rates, 9), screen_suite(candidates(rows, now), 9))


@given(suites(), st.integers(0, 11), st.floats(1, 10))
def test_more_of_the_same_shift_never_weakens_a_suspicion(suite, index, factor):
    rows, now = suite
    index %= len(now)
    more = [value * factor if k == index else value for k, value in enumerate(now)]
    before = screen_suite(candidates(rows, now), 9)[index]
    after = screen_suite(candidates(rows, more), 9)[index]
    assert after.worse == pytest.approx(before.worse + math.log(factor))
    assert after.bound == before.bound


@given(suites(), st.integers(1, 50), st.booleans())
def test_no_positive_number_gives_nan(suite, metrics, liberal):
    for seen in screen_suite(candidates(*suite), metrics, liberal=liberal):
        assert all(map(math.isfinite, (seen.worse, seen.bound, seen.centre, seen.change)))
        assert seen.bound > 0


@st.composite
def pull_requests(draw):
    """A suite as it is judged, and another one that behaves as its history."""
    rows, now = draw(suites())
    others = draw(st.lists(values, min_size=1, max_size=6))
    return rows, now, others


def suite_of(numbers, name="api") -> SuiteRun:
    test = f"tests/test_{name}.py::test_all"
    found = [metric(f"{name}{k}.p50", v, suite=name, nodeid=test) for k, v in enumerate(numbers)]
    return suite_run(found, name=name)


def about(verdict: Verdict, suite: str) -> dict[str, str]:
    found = [f for f in verdict.findings if f.suite == suite and f.kind == "regression"]
    return {finding.subject: finding.message for finding in found}


@settings(deadline=None)
@given(pull_requests(), st.booleans())
def test_an_unrelated_metric_never_makes_another_verdict_worse(case, liberal):
    rows, now, others = case
    policy = policy_of(suites="{api: {run: x}, load: {run: x}}")
    known = remembered(*map(suite_of, rows))
    calm = remembered(*[suite_of(others, "load")] * len(rows))
    alone = judge(run_of(suite_of(now)), baseline_from(known), policy, liberal=liberal)
    both = judge(
        run_of(suite_of(now), suite_of(others, "load")), baseline_from(known, calm), policy, liberal=liberal
    )
    assert not about(both, "load")
    if liberal:
        assert about(both, "api") == about(alone, "api")
    else:
        assert about(both, "api").keys() <= about(alone, "api").keys()


def machine_of(rnd: random.Random, width: int, noise: float, factor: float = 1.0) -> list[float]:
    slow = rnd.lognormvariate(0, noise) * factor
    return [100.0 * (k + 1) * slow * rnd.lognormvariate(0, noise / 2) for k in range(width)]


@pytest.mark.parametrize("runs", [1, 2, 4, 10, 20])
@pytest.mark.parametrize("noise", [0.01, 0.04])
def test_a_machine_that_is_30_percent_slower_is_not_red_and_is_told(runs, noise):
    rnd = random.Random(runs)
    policy = policy_of(defaults="{tolerance: 1 %}")
    for _ in range(10):
        known = baseline_of(*[suite_of(machine_of(rnd, 20, noise)) for _ in range(runs)])
        head = suite_of([value * 1.3 for value in machine_of(rnd, 20, 0.01)])
        verdict = judge(run_of(head), known, policy)
        assert not of_kind(verdict, "regression")
        if noise == 0.01:
            assert one(verdict, "environment").subject == "machine"


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.10])
def test_where_metrics_move_together_a_single_change_is_seen_through_their_noise(noise):
    rnd = random.Random(7)
    seen = 0
    for _ in range(40):
        rows = [machine_of(rnd, 3, noise) for _ in range(20)]
        now = machine_of(rnd, 3, noise)
        seen += screen_suite(candidates(rows, [now[0] * 1.45, *now[1:]]), 3)[0].suspect
    assert seen >= 36


def test_two_slow_tests_of_a_small_suite_are_suspects_where_history_did_not_couple_them():
    rows = [[100.0, 100.0]] * 10
    assert all(seen.suspect for seen in screen_suite(candidates(rows, [150.0, 150.0]), 2))


def test_metrics_of_one_subject_do_not_excuse_each_other():
    """Median and CPU time of one operation always moved together, and both are slower now."""
    wave = [100.0, 110.0, 90.0, 105.0, 95.0] * 4
    members = [
        Candidate(metric(f"a.{kind}", 160.0), RULE, present_level(wave), list(range(20)))
        for kind in ("p50", "cpu", "mean")
    ]
    assert all(seen.suspect for seen in screen_suite(members, 3))
    apart = [
        Candidate(metric(f"{name}.p50", 160.0), RULE, present_level(wave), list(range(20)))
        for name in ("a", "b", "c")
    ]
    assert not any(seen.suspect for seen in screen_suite(apart, 3))


@pytest.mark.parametrize("width", [2, MIN_COMMON, 30])
@pytest.mark.parametrize("noise", [0.03, 0.10])
def test_unchanged_code_is_rarely_accused_by_history_alone(width, noise):
    rnd = random.Random(width)
    trials = 150
    red = sum(
        any(
            seen.suspect
            for seen in screen_suite(
                candidates([machine_of(rnd, width, noise) for _ in range(12)], machine_of(rnd, width, noise)),
                width,
            )
        )
        for _ in range(trials)
    )
    assert red / trials <= 2 * FALSE_ALARMS
