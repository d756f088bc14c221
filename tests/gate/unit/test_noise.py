"""Noise of repeated runs, what can be seen, and which limits lie inside the noise."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import visible
from gate.noise import LAUNCHES, measure_noise, proposals, robust_sd
from gate.policy import Policy
from gate.thresholds import parse_policy
from tests.gate.build import metric, policy_of, suite_run

CALM = (10.0, 10.1, 9.9, 10.05, 9.95)
WILD = (10.0, 14.0, 7.0, 12.0, 8.0)


def runs(unit="ms", **values):
    """One metric per keyword, its values run by run; `__` stands for a dot."""
    count = len(next(iter(values.values())))
    return [
        {
            "api": suite_run(
                [metric(name.replace("__", "."), series[i], unit) for name, series in values.items()]
            )
        }
        for i in range(count)
    ]


def proposed(repeated, policy: Policy):
    table = measure_noise(repeated, policy)
    metrics = repeated[-1]["api"].metrics
    return proposals(table, policy, {noise.name: policy.rule(metrics[noise.name]) for noise in table})


def test_the_worst_metric_comes_first_and_what_nothing_judges_is_left_out():
    table = measure_noise(runs(a__p50=CALM, b__p50=WILD, c__mean=WILD), policy_of())
    assert [noise.name for noise in table] == ["b.p50", "a.p50"]
    assert table[0].noise == pytest.approx(1.4826 * math.log(10 / 8), rel=1e-9)
    assert table[0].centre == 10


def test_a_metric_that_only_has_a_limit_is_in_the_table_without_a_tolerance():
    (noise,) = measure_noise(runs(a__mean=CALM), policy_of({"a.mean": "{target: 1 s}"}))
    assert noise.tolerance is noise.screen is noise.confirm is None


def test_history_sees_less_than_a_confirmation_and_memory_cannot_be_confirmed():
    table = {n.name: n for n in measure_noise(runs(a__p50=CALM, a__peak=CALM), policy_of())}
    assert table["a.p50"].confirm < table["a.p50"].screen
    assert table["a.peak"].confirm is None
    assert table["a.peak"].seen == table["a.peak"].screen


def test_of_a_percentile_of_too_few_calls_only_a_limit_is_judged():
    few = [
        {"api": suite_run([metric("a.p95", value, count=100), metric("b.p95", value, count=100)])}
        for value in CALM
    ]
    (noise,) = measure_noise(few, policy_of({"a.p95": "{target: 20 ms}"}))
    assert noise.name == "a.p95"
    assert noise.tolerance is noise.screen is noise.confirm is None


def test_a_wild_tail_does_not_blind_the_median():
    wild = measure_noise(runs(a__p50=CALM, a__p95=WILD), policy_of())
    calm = measure_noise(runs(a__p50=CALM, a__p95=CALM), policy_of())
    assert {n.name: n.screen for n in wild}["a.p50"] == {n.name: n.screen for n in calm}["a.p50"]


def test_without_confirmation_history_decides():
    (noise,) = measure_noise(runs(a__p50=CALM), policy_of(defaults="{confirm: off}"))
    assert noise.confirm is None


def test_calm_metrics_need_no_proposal():
    assert proposed(runs(a__p50=CALM, a__peak=CALM), policy_of({"a.p50": "{target: 20 ms}"})) == []


def test_a_tolerance_inside_the_noise_of_what_only_history_judges_is_raised():
    (found,) = proposed(runs(a__peak=(10.0, 11.5, 9.0, 10.6, 9.4)), policy_of())
    assert found.name == "a.peak"
    assert found.yaml == "a.peak: {tolerance: 20 %}"
    assert "tolerance 10 %" in found.reasons[0]


def test_a_metric_that_leaps_is_better_off():
    (found,) = proposed(runs(a__peak=(10.0, 30.0, 2.0, 25.0, 4.0)), policy_of())
    assert found.yaml == "a.peak: {tolerance: off}"


def test_a_tolerance_below_what_a_confirmation_sees_is_raised():
    (found,) = proposed(runs(a__p50=CALM), policy_of({"a.p50": "{tolerance: 1 %}"}))
    assert found.yaml == "a.p50: {tolerance: 5 %}"


@pytest.mark.parametrize(
    ("entry", "yaml"),
    [
        ("{target: 10.2 ms}", None),
        ("{target: 10.1 ms}", "a.p50: {target: 11 ms}"),
        ("{target: 9 ms}", "a.p50: {target: 11 ms}"),
        ("{target: 0.01 s}", "a.p50: {target: 0.011 s}"),
        ("{warning: 10.1 ms, critical: 10.4 ms}", "a.p50: {warning: 10.4 ms, critical: 10.4 ms}"),
        ("{better: higher, target: 9.9 ms}", "a.p50: {better: higher, target: 9.5 ms}"),
        ("{better: higher, target: 9 ms}", None),
    ],
)
def test_a_limit_that_unchanged_code_passes_is_moved(entry, yaml):
    policy = policy_of({"a.p50": entry})
    found = proposed(runs(a__p50=CALM), policy)
    assert [proposal.yaml for proposal in found] == ([] if yaml is None else [yaml])


def test_no_share_of_more_than_all_is_proposed():
    noisy = runs(a__share=(0.7, 0.9, 0.5, 0.85, 0.95), unit="ratio")
    found = proposed(noisy, policy_of({"a.share": "{target: 80 %, tolerance: off}"}))
    assert [proposal.yaml for proposal in found] == ["a.share: {target: 100 %, tolerance: off}"]


@given(
    st.lists(st.floats(1, 1e4), min_size=2, max_size=8),
    st.floats(0.1, 1e4),
    st.sampled_from(["lower", "higher"]),
)
def test_every_proposal_can_be_pasted(values, limit, better):
    policy = policy_of({"a.p50": f"{{better: {better}, target: {limit:.6f} ms, tolerance: 3 %}}"})
    for proposal in proposed(runs(a__p50=values), policy):
        parse_policy(f"version: 1\nsuites: {{api: {{run: pytest}}}}\nmetrics:\n  {proposal.yaml}\n")


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=9), st.floats(1e-3, 1e3))
def test_noise_knows_no_unit(values, factor):
    assert robust_sd(values) == pytest.approx(robust_sd([factor * value for value in values]), abs=1e-9)


def test_around_zero_there_is_no_noise_to_speak_of():
    assert robust_sd([0.0, 0.0, 1.0]) is None
    (noise,) = measure_noise(runs(a__peak=(0.0, 0.0, 1.0)), policy_of())
    assert (noise.noise, noise.screen) == (None, None)


def test_more_launches_see_more_and_more_questions_less():
    assert visible(0.02, 10, 5) < visible(0.02, 4, 5) < visible(0.04, 4, 5)
    assert visible(0.02, LAUNCHES, 5) < visible(0.02, LAUNCHES, 500)
