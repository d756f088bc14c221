import random
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.baseline import Baseline
from gate.located import LocatedError
from gate.model import Problem, Run
from gate.verdict import Finding, to_json
from pytest_regression_gate.metrics import UNKNOWN_ENVIRONMENT
from tests.gate.build import (
    MACHINE,
    NODEID,
    OTHER_MACHINE,
    baseline_from,
    baseline_of,
    history,
    judge,
    judged,
    metric,
    of_kind,
    one,
    outcome,
    policy_of,
    remembered,
    run_of,
    suite_run,
)

STEADY = (100, 101, 99, 100, 100, 101, 99, 100, 100, 100)


def kinds(verdict) -> list[tuple[str, str]]:
    return [(finding.kind, finding.level) for finding in verdict.findings]


# Tests.


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("passed", "passed", []),
        ("passed", "failed", [("new-failure", "fail")]),
        ("passed", "error", [("new-failure", "fail")]),
        ("skipped", "failed", [("new-failure", "fail")]),
        ("xfailed", "failed", [("new-failure", "fail")]),
        ("xpassed", "failed", [("new-failure", "fail")]),
        ("failed", "failed", [("known-failure", "info")]),
        ("error", "error", [("known-failure", "info")]),
        ("failed", "passed", [("fixed", "info")]),
        ("error", "xpassed", [("fixed", "info")]),
        ("passed", "skipped", [("newly-skipped", "fail")]),
        ("passed", "xfailed", [("newly-skipped", "fail")]),
        ("failed", "skipped", [("newly-skipped", "fail")]),
        ("failed", "xfailed", [("newly-skipped", "fail")]),
        ("xpassed", "skipped", [("newly-skipped", "fail")]),
        ("skipped", "skipped", []),
        ("xfailed", "skipped", []),
        ("skipped", "passed", []),
        ("skipped", "xfailed", []),
    ],
)
def test_a_test_is_judged_by_what_became_of_it_on_the_baseline(before, now, expected):
    baseline = baseline_of(suite_run(tests=[outcome(result=before, signature="S")]))
    verdict = judged(suite_run(tests=[outcome(result=now, signature="S")]), baseline)
    assert kinds(verdict) == expected
    failed = any(level == "fail" for _, level in expected)
    assert (verdict.verdict, verdict.exit_code) == (("failed", 1) if failed else ("passed", 0))


def test_a_new_failure_says_what_happened_and_how_to_see_it():
    test = outcome(result="failed", message="AssertionError: 3 != 4", where="tests/test_api.py:12")
    finding = one(judged(suite_run(tests=[test])), "new-failure")
    assert finding.subject == NODEID
    assert finding.message == "AssertionError: 3 != 4"
    assert finding.where == "tests/test_api.py:12"
    assert finding.nodeids == (NODEID,)
    assert shlex.split(finding.reproduce) == ["pytest", NODEID]


def test_without_an_accepted_run_a_failure_is_new_and_nothing_else_is():
    tests = [outcome("t::a", "failed"), outcome("t::b"), outcome("t::c", "skipped")]
    verdict = judged(suite_run(tests=tests))
    assert [f.subject for f in of_kind(verdict, "new-failure")] == ["t::a"]
    assert not of_kind(verdict, "new-test")
    assert not of_kind(verdict, "newly-skipped")


def test_another_failure_of_a_known_failing_test_is_a_changed_failure():
    baseline = baseline_of(suite_run(tests=[outcome(result="failed", signature="KeyError | t.py | gone")]))
    verdict = judged(
        suite_run(tests=[outcome(result="failed", signature="T | t.py | late", message="late: 5 s")]),
        baseline,
    )
    finding = one(verdict, "changed-failure")
    assert finding.level == "fail"
    assert finding.message == "late: 5 s (in the accepted runs it failed with: gone)"


def test_a_bar_in_the_old_message_survives():
    baseline = baseline_of(suite_run(tests=[outcome(result="failed", signature="E | t.py | a | b")]))
    verdict = judged(suite_run(tests=[outcome(result="failed", signature="other")]), baseline)
    assert "failed with: a | b" in one(verdict, "changed-failure").message


def test_a_test_that_is_gone_fails():
    baseline = baseline_of(suite_run(tests=[outcome("t::a"), outcome("t::b"), outcome("t::c", "skipped")]))
    verdict = judged(suite_run(tests=[outcome("t::a")]), baseline)
    assert [(f.subject, f.level) for f in of_kind(verdict, "missing-test")] == [
        ("t::b", "fail"), ("t::c", "fail"),
    ]  # fmt: skip
    assert verdict.verdict == "failed"


@pytest.mark.parametrize(
    ("result", "kind", "level"),
    [("passed", "new-test", "info"), ("skipped", "new-test", "info"), ("failed", "new-failure", "fail")],
)
def test_a_test_that_is_new_is_told(result, kind, level):
    baseline = baseline_of(suite_run(tests=[outcome("t::a")]))
    verdict = judged(suite_run(tests=[outcome("t::a"), outcome("t::b", result)]), baseline)
    assert kinds(verdict) == [(kind, level)]
    assert verdict.findings[0].subject == "t::b"


def test_tests_are_remembered_across_environments():
    baseline = baseline_of(suite_run(tests=[outcome("t::a", "failed", signature="S")]))
    head = suite_run(tests=[outcome("t::a", "failed", signature="S")], environment=OTHER_MACHINE)
    assert kinds(judged(head, baseline)) == [("environment", "warn"), ("known-failure", "info")]


def test_counts_of_tests_are_those_of_the_run():
    results = ["passed", "xpassed", "failed", "error", "skipped", "xfailed"]
    tests = [outcome(f"t::{r}", r) for r in results]
    counts = judged(suite_run(tests=tests)).summary.tests
    assert (counts.passed, counts.failed, counts.skipped) == (2, 2, 2)


@pytest.mark.parametrize("nodeid", ["t.py::test_x[it's]", "t.py::test_x[';touch pwned;']"])
def test_a_nodeid_is_quoted_for_the_shell(nodeid):
    finding = one(judged(suite_run(tests=[outcome(nodeid, "failed")])), "new-failure")
    assert shlex.split(finding.reproduce) == ["pytest", nodeid]


# Limits.


@pytest.mark.parametrize(
    ("better", "limits", "value", "expected"),
    [
        ("lower", "target: 200 ms", 200, None),
        ("lower", "target: 200 ms", 200.1, ("fail", "target")),
        ("lower", "warning: 150 ms, critical: 300 ms", 150, None),
        ("lower", "warning: 150 ms, critical: 300 ms", 151, ("warn", "warning")),
        ("lower", "warning: 150 ms, critical: 300 ms", 300, ("warn", "warning")),
        ("lower", "warning: 150 ms, critical: 300 ms", 301, ("fail", "critical")),
        ("lower", "target: 200 ms, warning: 150 ms, critical: 300 ms", 180, ("warn", "warning")),
        ("lower", "target: 200 ms, warning: 150 ms, critical: 300 ms", 250, ("fail", "target")),
        ("lower", "target: 200 ms, warning: 150 ms, critical: 300 ms", 350, ("fail", "critical")),
        ("lower", "target: 0.2 s", 200, None),
        ("lower", "target: 0.2 s", 201, ("fail", "target")),
        ("lower", "target: 200 ms", 201, ("fail", "target")),
        ("higher", "target: 200 ms", 200, None),
        ("higher", "target: 200 ms", 199, ("fail", "target")),
        ("higher", "warning: 150 ms, critical: 100 ms", 120, ("warn", "warning")),
        ("higher", "warning: 150 ms, critical: 100 ms", 99, ("fail", "critical")),
        ("higher", "warning: 150 ms, critical: 100 ms", 151, None),
    ],
)
def test_a_metric_beyond_a_limit_is_one_finding_of_the_strictest(better, limits, value, expected):
    policy = policy_of({"a.p50": f"{{better: {better}, {limits}}}"})
    found = of_kind(judged([metric("a.p50", value)], policy=policy), "limit")
    if expected is None:
        assert found == []
        return
    level, name = expected
    (finding,) = found
    assert finding.level == level
    assert finding.rule.startswith(f"metrics[a.p50].{name} = ")
    assert finding.message.startswith(
        f"{value:g} ms is {'over' if better == 'lower' else 'under'} its {name} of"
    )
    assert (finding.head, finding.unit, finding.subject) == (value, "ms", "a.p50")


@pytest.mark.parametrize("percent", [3, 5, 60, 80, 85])
def test_a_ratio_exactly_on_its_limit_keeps_it(percent):
    for better in ("higher", "lower"):
        policy = policy_of({"a": f"{{better: {better}, target: {percent} %}}"})
        assert not of_kind(judged([metric("a", percent / 100, "ratio")], policy=policy), "limit")


@pytest.mark.parametrize(("percent", "better"), [(70, "higher"), (35, "higher"), (57, "higher")])
def test_every_ratio_exactly_on_its_limit_keeps_it(percent, better):
    policy = policy_of({"a": f"{{better: {better}, target: {percent} %}}"})
    assert not of_kind(judged([metric("a", percent / 100, "ratio")], policy=policy), "limit")


def test_a_value_just_over_its_limit_does_not_look_like_the_limit():
    finding = one(judged([metric("a", 150.3)], policy=policy_of({"a": "{target: 150 ms}"})), "limit")
    assert not finding.message.startswith("150 ms is over its target of 150 ms")


def test_a_warning_alone_passes():
    verdict = judged([metric("a.p50", 200)], policy=policy_of({"a.p50": "{warning: 150 ms}"}))
    assert (verdict.verdict, verdict.exit_code, verdict.summary.fail) == ("passed", 0, 0)


@pytest.mark.parametrize(
    ("pattern", "level"), [("b.p50", "fail"), ("b.*", "warn"), ("a.p50{users=1}", "fail")]
)
def test_a_limit_that_no_metric_answers_is_told(pattern, level):
    verdict = judged([metric("a.p50", 1)], policy=policy_of({pattern: "{warning: 1 s}"}))
    finding = one(verdict, "missing-metric")
    assert (finding.subject, finding.level) == (pattern, level)
    assert finding.message.startswith("thresholds.yaml line 4 sets a limit, but no suite measures it")


@pytest.mark.parametrize("entry", ["{tolerance: 5 %}", "{better: higher}", "{floor: 1 ms}"])
def test_an_entry_without_a_limit_that_matches_nothing_is_told_with_what_it_may_mean(entry):
    verdict = judged([metric("api.home.p50", 1)], policy=policy_of({"api.hone.p50": entry}))
    assert (one(verdict, "rule").level, verdict.exit_code) == ("warn", 0)
    assert one(verdict, "rule").message.endswith("no suite measures it; it may mean api.home.p50")


@pytest.mark.parametrize(("known", "level"), [(True, "fail"), (False, "warn")])
def test_a_skipped_test_excuses_only_promises_that_may_be_its(known, level):
    """A test that passed before has measured what it measures; its metrics are known."""
    baseline = baseline_of(suite_run([metric("a.p50", 1)])) if known else Baseline()
    head = suite_run([metric("a.p50", 1)] if not known else [], [outcome(result="skipped", reason="later")])
    verdict = judge(run_of(head), baseline, policy_of({"b.p50": "{critical: 1 s}"}))
    assert [f.level for f in of_kind(verdict, "missing-metric") if f.subject == "b.p50"] == [level]


EQUALS = {"load.*.p50": "{target: 1 s}", "*.load.p50": "{target: 2 s}"}


def test_entries_that_only_their_order_tells_apart_are_told():
    verdict = judged([metric("load.load.p50", 1)], policy=policy_of(EQUALS))
    assert "lines 4 and 5 name load.load.p50 equally precisely and differ in target" in (
        one(verdict, "rule").message
    )
    same = dict.fromkeys(EQUALS, "{target: 1 s}")
    assert not of_kind(judged([metric("load.load.p50", 1)], policy=policy_of(same)), "rule")


def test_limits_of_suites_that_did_not_run_are_not_missing():
    policy = policy_of({"load.p50": "{warning: 1 s}"}, suites="{api: {run: x}, load: {run: x}}")
    assert not of_kind(judged([metric("a.p50", 1)], policy=policy), "missing-metric")


def test_limits_are_not_missing_where_a_report_could_not_be_read():
    run = run_of(suite_run([metric("a.p50", 1)]), problems=[Problem("load.json", "cut off", "run it again")])
    verdict = judge(run, Baseline(), policy_of({"load.p50": "{warning: 1 s}"}))
    assert not of_kind(verdict, "missing-metric")


def test_a_limit_of_a_test_that_is_known_to_fail_is_not_missing():
    baseline = baseline_of(suite_run(tests=[outcome(result="failed", signature="S")]))
    head = suite_run(tests=[outcome(result="failed", signature="S")])
    assert judged(head, baseline, policy_of({"a.p50": "{warning: 1 s}"})).verdict == "passed"


def test_a_limit_in_the_wrong_unit_is_a_mistake_of_the_policy():
    with pytest.raises(LocatedError, match=r"warning: 5 MB does not fit: a\.p50 is measured in ms"):
        judged([metric("a.p50", 1)], policy=policy_of({"a.p50": "{warning: 5 MB}"}))


# Metrics that come and go.


def test_a_vanished_sample_is_one_finding():
    names = ["a.mean", "a.p50", "a.p95"]
    baseline = baseline_of(suite_run([metric(name, 1) for name in (*names, "b.p50")]))
    verdict = judged([metric("b.p50", 1)], baseline)
    finding = one(verdict, "missing-metric")
    assert (finding.subject, finding.level, finding.nodeids) == ("a", "fail", (NODEID,))
    assert finding.message == "is in the baseline and was not measured (mean, p50, p95)"


@pytest.mark.parametrize("result", ["failed", "error", "skipped", "xfailed"])
def test_a_metric_is_not_missing_where_its_test_has_its_own_finding(result):
    baseline = baseline_of(suite_run([metric("a.p50", 1)]))
    head = suite_run([], [outcome(result=result)])
    assert not of_kind(judged(head, baseline), "missing-metric")


def test_a_metric_is_not_missing_where_its_test_is_gone():
    baseline = baseline_of(suite_run([metric("a.p50", 1)]))
    verdict = judged(suite_run([], [outcome("t::other")]), baseline)
    assert [f.kind for f in verdict.of_level("fail")] == ["missing-test"]


def test_a_metric_that_is_new_is_information():
    baseline = baseline_of(suite_run([metric("a.p50", 1)]))
    verdict = judged(
        [metric("a.p50", 1), metric("b.p50", 1), metric("b.p95", 1), metric("c.calls", 1)], baseline
    )
    assert [(f.subject, f.level) for f in of_kind(verdict, "new-metric")] == [
        ("b", "info"),
        ("c.calls", "info"),
    ]
    assert verdict.verdict == "passed"


# Work counts.


@pytest.mark.parametrize(
    ("before", "now", "kind"),
    [(2, 3, "regression"), (2, 2, None), (2, 1, "improvement"), (0, 1, "regression"), (1, 0, "improvement")],
)
def test_work_counts_are_compared_exactly_on_one_run(before, now, kind):
    baseline = history("a.calls", [before], "count", exact=True)
    verdict = judged([metric("a.calls", now, "count", exact=True)], baseline)
    assert [finding.kind for finding in verdict.findings] == ([kind] if kind else [])
    assert verdict.summary.compared == 1
    if kind == "regression":
        finding = verdict.findings[0]
        assert (finding.level, finding.state) == ("fail", "confirmed")
        assert finding.message.startswith(f"{before} → {now}; a work count has no noise")
        assert finding.rule == "work count.tolerance = 0"


def test_work_counts_are_compared_with_the_youngest_run_of_any_environment():
    baseline = history("a.calls", [5, 3, 4], "count", exact=True)
    head = suite_run([metric("a.calls", 5, "count", exact=True)], environment=OTHER_MACHINE)
    finding = one(judged(head, baseline), "regression")
    assert (finding.baseline, finding.head, finding.change) == (4, 5, 0.25)


def test_a_work_count_may_have_a_tolerance_and_a_floor():
    baseline = history("a.calls", [100], "count", exact=True)
    head = [metric("a.calls", 105, "count", exact=True)]
    assert of_kind(judged(head, baseline), "regression")
    for entry in ("{tolerance: 5 %}", "{floor: 5}", "{tolerance: off}"):
        assert not of_kind(judged(head, baseline, policy_of({"a.calls": entry})), "regression")
    assert of_kind(judged(head, baseline, policy_of({"a.calls": "{tolerance: 4 %, floor: 4}"})), "regression")


def test_a_work_count_of_which_more_is_better_regresses_downwards():
    baseline = history("a.calls", [100], "count", exact=True, better="higher")
    assert of_kind(
        judged([metric("a.calls", 99, "count", exact=True, better="higher")], baseline), "regression"
    )
    assert of_kind(
        judged([metric("a.calls", 101, "count", exact=True, better="higher")], baseline), "improvement"
    )


def test_the_same_large_work_count_is_no_regression():
    baseline = history("a.bytes", [1_234_564], "count", exact=True)
    assert judged([metric("a.bytes", 1_234_564, "count", exact=True)], baseline).verdict == "passed"


@pytest.mark.parametrize("exact", [True, False])
def test_whether_a_metric_is_exact_is_not_for_the_head_to_say(exact):
    baseline = history("a.calls", [100] * 5, "count", exact=exact)
    verdict = judged([metric("a.calls", 101, "count", exact=not exact)], baseline)
    assert len(of_kind(verdict, "regression")) == exact
    assert len(of_kind(verdict, "policy-change")) == exact


@pytest.mark.parametrize("exact", [True, False])
def test_a_unit_that_we_do_not_know_is_compared_too(exact):
    baseline = history("a.tokens", [5], "tokens", exact=exact)
    assert judged([metric("a.tokens", 5, "tokens", exact=exact)], baseline).verdict == "passed"


# Screening.


def test_a_clear_worsening_is_a_suspect_with_its_figures():
    verdict = judged([metric("a.p50", 150)], history("a.p50", STEADY))
    finding = one(verdict, "regression")
    assert (finding.level, finding.state) == ("fail", "suspect")
    assert (finding.baseline, finding.head, finding.unit, finding.change) == (100, 150, "ms", 0.5)
    assert finding.message.startswith("100 ms → 150 ms (+50.0 %); noise: +")
    assert finding.message.endswith(" (10 accepted runs)")
    assert finding.rule == "defaults.tolerance = 10 %"
    assert (verdict.verdict, verdict.exit_code) == ("failed", 1)


def test_a_clear_bettering_is_an_improvement():
    verdict = judged([metric("a.p50", 50)], history("a.p50", STEADY))
    finding = one(verdict, "improvement")
    assert (finding.level, finding.state, finding.change) == ("info", None, -0.5)
    assert verdict.verdict == "passed"


@pytest.mark.parametrize(("value", "kind"), [(500, "regression"), (1700, "improvement"), (980, None)])
def test_a_metric_of_which_more_is_better_regresses_downwards(value, kind):
    baseline = history("a.throughput", [1000] * 10, "req/s", better="higher")
    verdict = judged([metric("a.throughput", value, "req/s", better="higher")], baseline)
    assert [finding.kind for finding in verdict.findings] == ([kind] if kind else [])


def test_a_change_within_noise_or_tolerance_is_silent():
    noisy = history("a.p50", [80, 120, 100, 90, 110, 130, 70, 100])
    assert judged([metric("a.p50", 125)], noisy).findings == ()
    steady = history("a.p50", [100.0] * 20)
    assert judged([metric("a.p50", 109)], steady).findings == ()
    assert one(judged([metric("a.p50", 109)], steady, policy_of(defaults="{tolerance: 5 %}")), "regression")
    assert judged([metric("a.p50", 190)], steady, policy_of({"a.p50": "{tolerance: off}"})).findings == ()


def test_a_change_below_the_floor_is_silent():
    steady = history("a.p50", [0.0005] * 20)
    assert judged([metric("a.p50", 0.00065)], steady).findings == ()
    assert one(judged([metric("a.p50", 0.00065)], steady, policy_of({"a.p50": "{floor: 0}"})), "regression")


@pytest.mark.parametrize(("statistic", "enough"), [("p95", 400), ("p99", 2000)])
def test_a_percentile_of_too_few_requests_is_not_compared(statistic, enough):
    name = f"a.{statistic}"
    policy = policy_of({name: "{tolerance: 30 %}"})
    baseline, thin = history(name, STEADY), history(name, STEADY, count=enough - 1)
    few = judged([metric(name, 250, count=enough - 1)], thin, policy)
    many = judged([metric(name, 250, count=enough)], baseline, policy)
    assert [(f.kind, f.level) for f in few.findings] == [("rule", "warn")]
    assert f"has no effect on {name}: it has {enough - 1:,} measurements" in few.findings[0].message
    assert few.summary.compared == 0
    assert of_kind(many, "regression")
    assert many.summary.compared == 1


@pytest.mark.parametrize(("count", "level"), [(8, "fail"), (359, "fail"), (360, "warn"), (399, "warn")])
def test_a_percentile_that_was_compared_and_is_no_more_is_missing(count, level):
    baseline = history("a.p95", STEADY)
    finding = one(judged([metric("a.p95", 2500, count=count)], baseline), "missing-metric")
    assert (finding.subject, finding.level) == ("a.p95", level)
    assert f"has {count} measurements and needs 400" in finding.message
    off = policy_of({"a.p95": "{tolerance: off}"})
    assert judged([metric("a.p95", 2500, count=count)], baseline, off).findings == ()


def test_a_median_is_compared_however_few_it_rests_on():
    assert of_kind(judged([metric("a.p50", 250, count=1)], history("a.p50", STEADY)), "regression")


def test_restless_tails_do_not_hide_a_slower_median():
    restless = [[100.0, 300.0, 150.0, 80.0, 220.0][(i + k) % 5] for k in range(10) for i in range(5)]
    runs = [
        suite_run([metric("a.p50", 100)] + [metric(f"t{k}.p95", restless[5 * k + i]) for k in range(10)])
        for i in range(5)
    ]
    head = [metric("a.p50", 150)] + [metric(f"t{k}.p95", 150) for k in range(10)]
    assert one(judged(head, baseline_of(*runs)), "regression").subject == "a.p50"


@pytest.mark.parametrize("statistic", ["mean", "std", "p99", "growth"])
def test_statistics_with_limits_only_are_not_compared(statistic):
    verdict = judged([metric(f"a.{statistic}", 900)], history(f"a.{statistic}", STEADY))
    assert verdict.findings == ()
    assert verdict.summary.compared == 0


def test_other_machines_are_not_compared_and_that_is_said():
    head = suite_run([metric("a.p50", 900)], environment=OTHER_MACHINE)
    verdict = judged(head, history("a.p50", STEADY))
    finding = one(verdict, "environment")
    assert verdict.findings == (finding,)
    assert finding.level == "warn"
    assert (
        "no accepted run of suite 'api' in this environment (apple-m1-8c-macos14-py3.11)" in finding.message
    )
    assert (verdict.environment.id, verdict.environment.comparable_runs) == (OTHER_MACHINE.id, 0)


def test_without_any_accepted_run_limits_alone_judge_and_that_is_said():
    finding = one(judged([metric("a.p50", 900)]), "environment")
    assert finding.message == "no accepted run of suite 'api' yet: judged by limits alone"
    assert finding.remedy == "add runs of accepted code with gate baseline update"


def test_runs_of_an_unknown_machine_are_compared():
    known = suite_run([metric("a.p50", 100)], environment=UNKNOWN_ENVIRONMENT)
    head = suite_run([metric("a.p50", 900)], environment=UNKNOWN_ENVIRONMENT)
    assert one(judged(head, baseline_of(*[known] * 10)), "regression").state == "suspect"


def machine(factor: float, *more):
    times = [metric(f"t{i}.p50", 100 * factor) for i in range(12)]
    rates = [metric(f"r{i}.throughput", 1000 / factor, "req/s", better="higher") for i in range(3)]
    return [*times, *rates, *more]


def quiet(*more):
    return baseline_of(*[suite_run(machine(1.0, *more))] * 10)


def test_a_slow_machine_is_one_warning_and_no_regression():
    verdict = judged(machine(1.3), quiet())
    finding = one(verdict, "environment")
    assert verdict.findings == (finding,)
    assert (finding.level, finding.subject) == ("warn", "machine")
    assert "+30.0 % over 15 metrics" in finding.message
    assert (verdict.verdict, verdict.summary.compared) == ("passed", 15)


def test_what_is_slower_than_the_slow_machine_is_still_a_suspect():
    verdict = judged(machine(1.3, metric("x.p50", 200)), quiet(metric("x.p50", 100)))
    assert one(verdict, "regression").subject == "x.p50"


def test_a_fast_machine_is_said_and_makes_nothing_suspect():
    verdict = judged(machine(0.7, metric("x.p50", 100)), quiet(metric("x.p50", 100)))
    assert not of_kind(verdict, "regression")
    assert "the whole machine was faster" in one(verdict, "environment").message
    assert one(verdict, "environment").level == "info"


def test_a_few_slow_metrics_are_not_a_slow_machine():
    times = [metric(f"t{i}.p50", 100) for i in range(7)]
    slow = [metric(f"t{i}.p50", 150) for i in range(7)]
    verdict = judged(slow, baseline_of(*[suite_run(times)] * 10))
    assert len(of_kind(verdict, "regression")) == 7


def test_a_slow_machine_does_not_excuse_memory():
    verdict = judged(machine(1.4, metric("mem.peak", 135, "MB")), quiet(metric("mem.peak", 100, "MB")))
    assert one(verdict, "regression").subject == "mem.peak"


def test_a_slow_machine_does_not_improve_memory():
    verdict = judged(machine(1.6, metric("mem.peak", 102, "MB")), quiet(metric("mem.peak", 100, "MB")))
    assert not of_kind(verdict, "improvement")


def test_the_first_errors_ever_are_a_regression():
    verdict = judged([metric("a.error_rate", 0.05, "ratio")], history("a.error_rate", [0.0] * 10, "ratio"))
    assert one(verdict, "regression").subject == "a.error_rate"


def test_a_value_that_rises_far_from_below_zero_is_a_regression():
    verdict = judged([metric("a.net", 5, "MB")], history("a.net", [-0.001] * 10, "MB"))
    assert one(verdict, "regression").subject == "a.net"


def test_a_value_that_grew_has_a_positive_change():
    verdict = judged([metric("a.net", -5, "MB")], history("a.net", [-10] * 10, "MB"))
    change = one(verdict, "regression").change
    assert change is not None
    assert change > 0


def test_a_metric_in_another_unit_is_not_compared_as_if_nothing_had_happened():
    verdict = judged([metric("a.p50", 15, "s")], history("a.p50", [150.0] * 10, "ms"))
    assert verdict.verdict != "passed"


def test_values_of_another_method_are_not_compared_and_that_is_said_once():
    old = [suite_run([metric("a.p50", 1), metric("a.p95", 1), metric("b.p50", 150)])] * 10
    head = [metric("a.p50", 1.9, method=2), metric("a.p95", 1.9, method=2), metric("b.p50", 300)]
    verdict = judged(head, baseline_of(*old))
    assert one(verdict, "regression").subject == "b.p50"
    said = one(verdict, "policy-change")
    assert (said.subject, said.level) == ("a.p50", "warn")
    assert "it and 1 more in another way" in said.message
    assert not of_kind(verdict, "new-metric")
    again = judged(head, baseline_of(*old, *[suite_run(head)] * 5))
    assert not of_kind(again, "policy-change")


def test_no_report_loses_its_history_by_an_older_method():
    old = [suite_run([metric("a.p50", 100, method=2)])] * 10
    verdict = judged([metric("a.p50", 300)], baseline_of(*old))
    assert one(verdict, "missing-metric").level == "fail"


@pytest.mark.parametrize(("accepted", "level"), [(200, "fail"), (90, "info")])
def test_a_limit_that_accepted_runs_of_another_method_break_is_broken_still(accepted: float, level: str):
    old = baseline_of(*[suite_run([metric("a.p50", accepted)])] * 6)
    run = run_of(suite_run([metric("a.p50", 190, method=2)]))
    verdict = judge(run, old, policy_of({"a.p50": "{critical: 100 ms}"}), untouched={"api"}, of_branch=True)
    assert one(verdict, "limit").level == level


def test_a_pull_request_cannot_turn_the_direction_of_a_metric_around():
    verdict = judged([metric("a.p50", 1500, better="higher")], history("a.p50", [150.0] * 10))
    assert verdict.verdict != "passed"


def test_suspects_that_nobody_confirmed_are_told_once():
    head = [metric("a.p50", 150), metric("b.p50", 150)]
    baseline = baseline_of(*[suite_run([metric("a.p50", 100), metric("b.p50", 100)])] * 10)
    run = run_of(suite_run(head))
    said = of_kind(judge(run, baseline, policy_of(), base="b", unconfirmed="nobody looked"), "environment")
    assert [(f.subject, f.message, f.level) for f in said] == [("confirmation", "nobody looked", "warn")]
    assert not of_kind(judge(run, baseline, policy_of()), "environment")
    calm = run_of(suite_run([metric("a.p50", 100), metric("b.p50", 100)]))
    assert not judge(calm, baseline, policy_of(), base="b", unconfirmed="nobody looked").findings


@pytest.mark.parametrize(
    ("runs", "level", "state", "code"),
    [(1, "warn", "suspect", 0), (4, "warn", "suspect", 0), (5, "fail", "inconclusive", 3)],
)
def test_without_a_base_history_alone_makes_nothing_red(runs: int, level: str, state: str, code: int):
    """The first tries of whoever sets it up: one accepted run says little about the next."""
    run = run_of(suite_run([metric("a.p50", 300)]))
    verdict = judge(run, history("a.p50", [100] * runs), policy_of(), unconfirmed="nobody looked")
    (finding,) = of_kind(verdict, "regression")
    assert (finding.level, finding.state, verdict.exit_code) == (level, state, code)
    assert ("history can tell from 5 on" in finding.message) is (runs < 5)
    assert finding.remedy == "compare it with the base on this machine: gate check --base REF"
    chosen = judge(run, history("a.p50", [100] * runs), policy_of())
    assert chosen.exit_code == 1, "--no-confirm is a choice"


def test_a_slow_machine_is_told_without_a_base_as_well():
    run = run_of(suite_run(machine(1.3, metric("x.p50", 300))))
    verdict = judge(run, quiet(metric("x.p50", 100)), policy_of(), unconfirmed="nobody looked")
    assert one(verdict, "environment").subject == "machine"
    assert one(verdict, "regression").state == "inconclusive"


# The verdict as a whole.


def test_a_report_that_cannot_be_read_outweighs_everything():
    run = run_of(
        suite_run([metric("a.p50", 150)], [outcome(), outcome("t::x", "failed")]),
        problems=[Problem("load.json", "the report is cut off", "run the suite again")],
    )
    verdict = judge(run, history("a.p50", STEADY), policy_of())
    first = verdict.findings[0]
    assert (verdict.verdict, verdict.exit_code) == ("error", 4)
    assert (first.kind, first.level, first.subject) == ("report-error", "fail", "load.json")
    assert (first.message, first.remedy) == ("the report is cut off", "run the suite again")
    assert of_kind(verdict, "regression")
    assert of_kind(verdict, "new-failure")


def test_nothing_at_all_is_not_a_pass():
    assert judge(Run({}), Baseline(), policy_of()).verdict != "passed"


def test_a_suite_that_did_not_run_is_told():
    policy = policy_of(suites="{api: {run: x}, load: {run: x}}")
    verdict = judged([metric("a.p50", 100)], history("a.p50", STEADY), policy)
    assert any("load" in finding.message or finding.subject == "load" for finding in verdict.findings)


@pytest.mark.parametrize(
    ("given", "code"), [({}, 0), ({"base": "b" * 40}, 4), ({"base": "b" * 40, "only": frozenset({"api"})}, 0)]
)
def test_with_a_base_each_suite_needs_a_report_unless_somebody_chooses(given, code):
    policy = policy_of(suites="{api: {run: x}, load: {run: x}}")
    run = run_of(suite_run([metric("a.p50", 100)]))
    assert judge(run, history("a.p50", STEADY), policy, **given).exit_code == code


def test_findings_from_outside_are_judged_with_the_rest():
    note = Finding(kind="policy-change", level="warn", subject="thresholds.yaml", message="differs")
    verdict = judge(
        run_of(suite_run([metric("a.p50", 100)])),
        history("a.p50", STEADY),
        policy_of(),
        base="b" * 40,
        notes=(note,),
    )
    assert verdict.findings == (note,)
    assert (verdict.base.commit, verdict.head.commit, verdict.policy) == (
        "b" * 40,
        "a" * 40,
        "thresholds.yaml",
    )


def test_a_summary_holds_the_figures_of_the_whole_run():
    one_suite = suite_run([metric("a.p50", 100), metric("a.mean", 100)], name="api")
    two = suite_run(
        [metric("b.p50", 150, suite="load", nodeid="l::b")], name="load", environment=OTHER_MACHINE
    )
    baseline = baseline_from(remembered(*[one_suite] * 3))
    verdict = judge(run_of(two, one_suite), baseline, policy_of({"b.p50": "{critical: 1 ms}"}))
    assert (verdict.summary.metrics, verdict.summary.compared) == (3, 1)
    assert (verdict.summary.fail, verdict.summary.warn) == (1, 1)
    assert [(s.name, s.tests, s.metrics, s.environment.comparable_runs) for s in verdict.suites] == [
        ("api", 1, 2, 3), ("load", 1, 1, 0),
    ]  # fmt: skip
    assert verdict.environment.id == OTHER_MACHINE.id


def everything(rnd: random.Random | None = None):
    """A run in which everything happens; with `rnd` all orders are shuffled."""

    def mixed(items):
        items = list(items)
        if rnd:
            rnd.shuffle(items)
        return items

    before = [
        suite_run(
            [metric(f"{name}.{s}", 100, nodeid=f"{name}::m", suite=name) for s in ("p50", "p95", "cpu")]
            + [metric(f"{name}.gone", 1, nodeid=f"{name}::m", suite=name),
               metric(f"{name}.calls", 3, "count", exact=True, nodeid=f"{name}::m", suite=name)],
            [outcome(f"{name}::{t}", suite=name) for t in ("m", "a", "b", "gone")],
            name=name,
        )
        for name in ("api", "load")
    ]  # fmt: skip
    suites = [
        suite_run(
            mixed(
                [metric(f"{name}.{s}", 170, nodeid=f"{name}::m", suite=name) for s in ("p50", "p95", "cpu")]
                + [metric(f"{name}.new", 1, nodeid=f"{name}::m", suite=name),
                   metric(f"{name}.calls", 4, "count", exact=True, nodeid=f"{name}::m", suite=name)]
            ),
            mixed(
                [outcome(f"{name}::m", suite=name), outcome(f"{name}::a", "failed", suite=name),
                 outcome(f"{name}::b", "skipped", suite=name), outcome(f"{name}::n", suite=name)]
            ),
            name=name,
        )
        for name in ("api", "load")
    ]  # fmt: skip
    run = run_of(*mixed(suites), problems=mixed([Problem("x", "a", "c"), Problem("y", "b", "d")]))
    baseline = baseline_from(*mixed(remembered(*[suite] * 3) for suite in before))
    policy = policy_of({"api.p50": "{critical: 1 ms}"}, suites="{api: {run: x}, load: {run: x}}")
    return run, baseline, policy


@given(st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_the_order_of_suites_tests_and_metrics_does_not_matter(rnd):
    assert to_json(judge(*everything(rnd))) == to_json(judge(*everything()))


def test_judging_twice_gives_the_same_bytes_and_changes_nothing():
    run, baseline, policy = everything()
    first = to_json(judge(run, baseline, policy))
    assert to_json(judge(run, baseline, policy)) == first
    assert (run, baseline) == everything()[:2]
    assert len({finding.kind for finding in judge(run, baseline, policy).findings}) >= 8


def test_the_order_of_suites_of_different_commits_does_not_matter():
    one_suite = suite_run([metric("a.p50", 1)], name="api", commit="1" * 40)
    two = suite_run([metric("b.p50", 1, nodeid="b")], name="load", commit="2" * 40)
    verdicts = [
        judge(run_of(*order), Baseline(), policy_of()) for order in ([one_suite, two], [two, one_suite])
    ]
    assert to_json(verdicts[0]) == to_json(verdicts[1])


def test_an_environment_of_a_suite_is_where_it_was_measured():
    assert judged([metric("a.p50", 1)]).environment.id == MACHINE.id


def test_where_nothing_changed_a_suspect_is_the_machines_and_never_red():
    run = run_of(suite_run([metric("a.p50", 150)]))
    verdict = judge(run, history("a.p50", STEADY), policy_of(), changed=False, unconfirmed="nobody looked")
    (finding,) = verdict.findings
    assert (finding.kind, finding.level, finding.state) == ("regression", "info", "machine")
    assert (
        finding.message == "100 ms → 150 ms (+50.0 %); nothing changed that it runs, so this is the machine"
    )
    assert verdict.verdict == "passed"
    assert judge(run, history("a.p50", STEADY), policy_of(), changed=False, strict=True).verdict == "passed"


@pytest.mark.parametrize("changed", [True, False])
def test_work_counts_limits_and_failures_are_red_whether_anything_changed_or_not(changed):
    counted = judge(
        run_of(suite_run([metric("a.calls", 3, "count", exact=True)])),
        history("a.calls", [2], "count", exact=True), policy_of(), changed=changed,
    )  # fmt: skip
    assert counted.verdict == "failed"
    over = run_of(suite_run([metric("a.p50", 9)]))
    assert (
        judge(over, Baseline(), policy_of({"a.p50": "{target: 1 ms}"}), changed=changed).verdict == "failed"
    )
    broken = run_of(suite_run(tests=[outcome(result="failed")]))
    assert judge(broken, Baseline(), policy_of(), changed=changed).verdict == "failed"


@pytest.mark.parametrize(("tolerance", "kinds"), [("100 %", {"rule"}), ("99 %", {"regression"})])
def test_a_tolerance_that_lets_a_throughput_fall_to_nothing_fails(tolerance, kinds):
    baseline = history("a.throughput", [900] * 10, "req/s", better="higher")
    policy = policy_of({"a.throughput": f"{{tolerance: {tolerance}}}"})
    verdict = judged([metric("a.throughput", 1, "req/s", better="higher")], baseline, policy)
    assert {finding.kind for finding in verdict.findings if finding.level == "fail"} == kinds
    by_default = policy_of(defaults=f"{{tolerance: {tolerance}}}")
    verdict = judged([metric("a.throughput", 1, "req/s", better="higher")], baseline, by_default)
    assert {finding.kind for finding in verdict.findings if finding.level == "fail"} == kinds
    lower = policy_of({"a.p50": "{tolerance: 300 %}"})
    assert judged([metric("a.p50", 390)], history("a.p50", STEADY), lower).verdict == "passed"


@pytest.mark.parametrize(
    ("before", "unit", "value"), [("ms", "", 50), ("ms", "", 0), ("widgets", "", 50), ("", "widgets", 50)]
)
def test_a_metric_that_loses_its_unit_is_compared_no_more_and_fails(before, unit, value):
    verdict = judged([metric("a.p50", value, unit)], history("a.p50", STEADY, before))
    assert {finding.kind for finding in verdict.findings if finding.level == "fail"} == {"missing-metric"}
    assert f"in {before or 'no unit'} on the baseline" in verdict.findings[-1].message


@pytest.mark.parametrize(
    ("entry", "before", "unit", "better", "level"),
    [
        ("floor: 95 %", 0.9, "ratio", "higher", "fail"),
        ("floor: 1000", 100, "", "higher", "fail"),
        ("floor: 2000 req/s", 1000, "req/s", "higher", "fail"),
        ("tolerance: 70 %", 0.6, "ratio", "lower", "warn"),
        ("floor: 95 %", 0.1, "ratio", "lower", "warn"),
        ("floor: 10 s", 100, "ms", "lower", "warn"),
        ("floor: 50 ms", 100, "ms", "lower", ""),
        ("tolerance: 300 %", 100, "ms", "lower", ""),
        ("tolerance: 30 %", 0.6, "ratio", "lower", ""),
    ],
)
def test_what_a_metric_cannot_exceed_is_told(entry, before, unit, better, level):
    policy = policy_of({"a.x": f"{{{entry}}}"})
    baseline = history("a.x", [before] * 10, unit, better=better)
    verdict = judged([metric("a.x", before, unit, better=better)], baseline, policy)
    assert [f.level for f in verdict.findings if f.kind == "rule"] == ([level] if level else [])


def test_a_high_ratio_has_no_doubtful_default():
    baseline = history("a.miss", [0.97] * 10, "ratio")
    assert judged([metric("a.miss", 0.97, "ratio")], baseline).findings == ()


def test_a_tolerance_that_loosens_counts_along_with_times_is_told():
    run = [metric("a.p50", 100), metric("a.calls", 10, "count", exact=True)]
    told = judged(run, Baseline(), policy_of({"a.*": "{tolerance: 20 %}"})).findings
    (rule,) = (f for f in told if f.kind == "rule")
    assert "line 4 also loosens work counts (a.calls), which are exact otherwise" in rule.message
    by_name = {"a.*": "{tolerance: 20 %}", "a.calls": "{tolerance: 0}"}
    for rules in (by_name, {"a.calls": "{tolerance: 20 %}"}):
        assert not [f for f in judged(run, Baseline(), policy_of(rules)).findings if f.kind == "rule"]


@pytest.mark.parametrize(("mean", "level"), [(0.1, "fail"), (1.3, "warn")])
def test_fewer_calls_since_the_time_was_over_warn(mean: float, level: str):
    """279 calls of 1.3 ms take the time there is; 279 of 0.1 ms do not."""
    baseline = history("a.p95", STEADY)
    run = [metric("a.p95", 120, count=279), metric("a.mean", mean, count=279)]
    assert one(judged(run, baseline), "missing-metric").level == level
