"""Metrics against the absolute bounds of the policy."""

import shlex

from gate.model import Metric, Run, SuiteRun
from gate.policy import LIMITS, Policy, Rule
from gate.units import Quantity, format_value
from gate.verdict import Finding, Level


def judge_limits(suite: SuiteRun, policy: Policy, void: frozenset[str] = frozenset()) -> list[Finding]:
    """One finding for every metric beyond a limit: a missed target or critical fails, a warning warns.

    The strictest limit that is passed speaks; a value exactly on a limit keeps it. Of `void` metrics, those
    of a load that was no measurement, only the error rate is held to its limits.

    Raises:
        LocatedError: a limit's unit does not fit its metric.
    """
    findings: list[Finding] = []
    for metric in suite.metrics.values():
        if metric.name in void and metric.statistic != "error_rate":
            continue
        rule = policy.rule(metric)
        levels: tuple[tuple[str, Level], ...] = (
            ("critical", "fail"),
            ("target", "fail"),
            ("warning", "warn"),
        )
        for name, level in levels:
            limit: Quantity | None = getattr(rule, name)
            if limit is not None and passed_over(metric, rule, limit):
                findings.append(_finding(metric, rule, name, limit, level))
                break
    return findings


def passed_over(metric: Metric, rule: Rule, limit: Quantity) -> bool:
    """Whether a metric lies on the wrong side of a limit."""
    bound = limit.to(metric.unit)
    return metric.value > bound if rule.better == "lower" else metric.value < bound


def unanswered_limits(run: Run, policy: Policy) -> list[Finding]:
    """Limits that no metric of a whole run answers: they could never turn red.

    A name without a wildcard is a promise and fails; a pattern may be meant for later and warns. Where a
    test failed or was skipped, the metric may be its, and the test's own finding says what there is to say.
    """
    names = list(run.metrics)
    whole = not any(
        test.failed or test.silent for suite in run.suites.values() for test in suite.tests.values()
    )
    return [
        Finding(
            kind="missing-metric",
            level="fail" if whole and "*" not in entry.pattern else "warn",
            subject=entry.pattern,
            message=f"thresholds.yaml line {entry.place.line} sets a limit, but no suite measures it",
            rule=f"metrics[{entry.pattern}]",
            remedy="measure it, or correct the name",
        )
        for entry in policy.entries
        if entry.values.keys() & set(LIMITS) and not any(entry.matches(name) for name in names)
    ]


def _finding(metric: Metric, rule: Rule, name: str, limit: Quantity, level: Level) -> Finding:
    word = "over" if rule.better == "lower" else "under"
    value = format_value(metric.value, metric.unit)
    if value == format_value(limit.to(metric.unit), metric.unit):  # beyond the limit by less than it shows
        value = f"{metric.value:.8g} {metric.unit}"
    return Finding(
        kind="limit",
        level=level,
        subject=metric.name,
        suite=metric.suite,
        head=metric.value,
        unit=metric.unit,
        message=f"{value} is {word} its {name} of {limit}",
        rule=rule.cite(name),
        nodeids=(metric.nodeid,),
        reproduce=f"pytest {shlex.quote(metric.nodeid)}",
    )
