"""Entries of thresholds.yaml that may not mean what their author thinks. Pure."""

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import combinations

from gate.baseline import Baseline
from gate.globs import is_exact
from gate.model import Metric, Run, SuiteRun, needed_for
from gate.policy import LIMITS, OFF, Entry, Policy, Rule
from gate.units import convert, dimension, format_value
from gate.verdict import Finding, Level
from pytest_regression_gate.metrics import statistic_of


def judge_rules(run: Run, policy: Policy, baseline: Baseline) -> list[Finding]:
    """Entries that match nothing, and those of which only their order decides.

    Args:
        run: a whole run: all suites of the policy, and no report that could not be read.
        policy: the entries.
        baseline: says what tests measured that did not do so this time.
    """
    overall = [known for suite in run.suites if (known := baseline.latest(suite))]
    names = list(dict.fromkeys([*run.metrics, *(name for known in overall for name in known.metrics)]))
    passing = {nodeid for known in overall for nodeid, test in known.tests.items() if not test.failed}
    unsure = any(
        (test.failed or test.silent) and test.nodeid not in passing
        for suite in run.suites.values()
        for test in suite.tests.values()
    )
    return [
        *_matching_nothing(policy, names, unsure=unsure),
        *_equals(policy, names),
        *_without_effect(policy, [m for suite in run.suites.values() for m in _of_no_load(suite)]),
    ]


def _of_no_load(suite: SuiteRun) -> Iterator[Metric]:
    """Metrics that are not judged as those of a load already."""
    return (metric for metric in suite.metrics.values() if metric.subject not in suite.loads)


def judge_reach(metric: Metric, rule: Rule, accepted: float | None) -> list[Finding]:
    """A tolerance or a floor that the metric cannot exceed fails; one that twice as much passes is told.

    Args:
        metric: of the run.
        rule: what holds for it.
        accepted: what it was; None: nobody knows.
    """
    tolerance, floor = rule.tolerance.to("ratio"), rule.floor.to(metric.unit)
    explicit = [key for key in ("tolerance", "floor") if rule.sources[key].startswith("metrics[")]
    was = format_value(accepted or 0.0, metric.unit)
    key, message = "", ""
    level: Level = "warn"
    if rule.better == "higher" and tolerance >= 1:
        key, level, message = "tolerance", "fail", "allows a fall to 0, as higher is better"
    elif not accepted:
        return []
    elif rule.better == "higher" and floor >= abs(accepted):
        key, level, message = "floor", "fail", f"allows a fall from {was} to 0"
    elif rule.better == "higher" or not explicit:
        return []
    elif dimension(metric.unit) == "ratio" and _share(accepted, metric, tolerance, floor) >= 1:
        key, message = explicit[-1], f"allows a rise from {was} to 100 %"
    elif "floor" in explicit and floor > abs(accepted):
        key, message = "floor", f"allows more than twice as much as the metric was, {was}"
    if not message:
        return []
    return [
        Finding(
            kind="rule",
            level=level,
            subject=metric.name,
            suite=metric.suite,
            message=f"the {key} {message}",
            rule=rule.cite(key),
            nodeids=(metric.nodeid,),
            remedy=f"set a smaller {key}; or tolerance: off, and a critical limit",
        )
    ]


def _share(accepted: float, metric: Metric, tolerance: float, floor: float) -> float:
    return convert(accepted + max(tolerance * abs(accepted), floor), metric.unit, "ratio")


def _matching_nothing(policy: Policy, names: Collection[str], *, unsure: bool) -> Iterator[Finding]:
    """An exact name with a limit is a promise, and fails; the rest may be meant for later.

    Where a test failed or was skipped that never passed, the metric may be its.
    """
    for entry in policy.entries:
        if any(entry.matches(name) for name in names):
            continue
        promise = bool(entry.values.keys() & set(LIMITS))
        what = "a limit" if promise else " and ".join(sorted(entry.values))
        near = difflib.get_close_matches(entry.pattern, names, n=3)
        meant = f"; it may mean {', '.join(near)}" if near else ""
        yield Finding(
            kind="missing-metric" if promise else "rule",
            level="fail" if promise and not unsure and is_exact(entry.pattern) else "warn",
            subject=entry.pattern,
            message=f"thresholds.yaml line {entry.place.line} sets {what}, but no suite measures it{meant}",
            rule=f"metrics[{entry.pattern}]",
            remedy="correct the name, or measure it",
        )


def _without_effect(policy: Policy, metrics: Collection[Metric]) -> Iterator[Finding]:
    """Tolerances of a percentile with too few measurements, and those that loosen counts along with times."""
    decided: dict[str, list[Metric]] = defaultdict(list)
    for metric in metrics:
        if metric.exact or metric.few:
            decided[policy.rule(metric).sources["tolerance"]].append(metric)
    for entry in policy.entries:
        tolerance = entry.values.get("tolerance")
        if tolerance is None or tolerance == OFF:
            continue
        mine = decided[f"metrics[{entry.pattern}]"]
        few = [metric for metric in mine if metric.few and metric.statistic == statistic_of(entry.pattern)]
        counts = [metric for metric in mine if metric.exact]
        if few:
            more = f" and {len(few) - 1} more" if len(few) > 1 else ""
            has = f"it has {few[0].count:,} measurements and needs {needed_for(few[0].statistic):,}"
            message = f"has no effect on {few[0].name}{more}: {has}"
            yield _of_entry(entry, message, "measure more often, or remove the tolerance")
        if counts and tolerance.value > 0 and any(not m.exact and entry.matches(m.name) for m in metrics):
            message = f"also loosens work counts ({counts[0].name}), which are exact otherwise"
            remedy = "name the metrics that are meant; or the counts, with tolerance: 0"
            yield _of_entry(entry, message, remedy)


def _of_entry(entry: Entry, message: str, remedy: str) -> Finding:
    return Finding(
        kind="rule",
        level="warn",
        subject=entry.pattern,
        message=f"the tolerance of thresholds.yaml line {entry.place.line} {message}",
        rule=f"metrics[{entry.pattern}]",
        remedy=remedy,
    )


def _equals(policy: Policy, names: Collection[str]) -> Iterator[Finding]:
    """Pairs of entries that are as specific, about one metric, and say different things of it."""
    for first, second in combinations(policy.entries, 2):
        if first.specificity != second.specificity or _apart(first, second):
            continue
        keys = [key for key in first.values if second.values.get(key, first.values[key]) != first.values[key]]
        both = keys and next((name for name in names if first.matches(name) and second.matches(name)), None)
        if both:
            yield Finding(
                kind="rule",
                level="warn",
                subject=second.pattern,
                message=f"thresholds.yaml lines {first.place.line} and {second.place.line} name {both} "
                f"equally precisely and differ in {' and '.join(keys)}; the later line decides",
                rule=f"metrics[{second.pattern}]",
                remedy="name one of them more precisely, or remove it",
            )


def _apart(first: Entry, second: Entry) -> bool:
    """Whether two exact names are of different metrics."""
    return first.specificity.exact and first.pattern.partition("{")[0] != second.pattern.partition("{")[0]
