"""Metrics against the absolute bounds of the policy."""

from collections.abc import Collection
from statistics import median
from typing import Final

import msgspec

from gate.baseline import SuiteBaseline
from gate.evidence import LIMIT_SLACK, Confirmation, Evidence
from gate.judge.accounting import said
from gate.judge.screening import depends_on_speed
from gate.judge.undecided import MORE_TIME, what_decides
from gate.model import Metric, SuiteRun
from gate.nodeids import pytest_command
from gate.policy import Policy, Rule
from gate.units import Quantity, format_change, format_value
from gate.verdict import Finding, Level

_LIKE: Final = 3.0
"""How many times the figure beside the base that of the suite may be, to be that of a busier machine."""
_NOTHING: Final = 1e-300
_ITS_FIRST_CALLS: Final = "the suite measured more than its operation alone, as first calls do: look at these"


def judge_limits(
    suite: SuiteRun,
    policy: Policy,
    void: frozenset[str] = frozenset(),
    *,
    untouched: Collection[str] = (),
    accepted: SuiteBaseline | None = None,
    confirmation: Confirmation | None = None,
    of_branch: bool = False,
) -> list[Finding]:
    """One finding for every metric beyond a limit: a missed target or critical fails, a warning warns.

    The strictest limit that is passed speaks; a value exactly on a limit keeps it. Of `void` metrics, those
    of a load that was no measurement, only the error rate is held to its limits.

    Args:
        suite: the run.
        policy: the limits.
        void: metrics of loads that were no measurement.
        untouched: tests that reach nothing that differs (nodeids). A limit on a time or a rate is then broken
            by the machine, which is told, unless the accepted runs break it as well.
        accepted: the accepted runs of machines like this one.
        confirmation: what base and head showed beside each other; None: nobody asked. A limit on a time or a
            rate that the head breaks is then judged like a test: by whether the base keeps it.
        of_branch: the base is what was accepted, so a limit that it breaks as well is no excuse.

    Raises:
        LocatedError: a limit's unit does not fit its metric.
    """
    findings: list[Finding] = []
    for measured in suite.metrics.values():
        metric = measured
        if metric.name in void and metric.statistic != "error_rate":
            shown = confirmation.evidence.get(metric.name) if confirmation else None
            if shown is None:
                continue
            metric = msgspec.structs.replace(metric, value=shown.head)
        rule = policy.rule(metric)
        levels: tuple[tuple[str, Level], ...] = (
            ("critical", "fail"),
            ("target", "fail"),
            ("warning", "warn"),
        )
        for name, level in levels:
            limit: Quantity | None = getattr(rule, name)
            if limit is not None and passed_over(metric, rule, limit):
                found = _finding(metric, rule, name, limit, level)
                broken = _was_broken(metric, rule, limit, accepted)
                if depends_on_speed(metric) and metric.nodeid in untouched:
                    found = found if broken else _of_the_machine(found)
                elif depends_on_speed(metric) and level == "fail" and confirmation:
                    found = _beside_the_base(
                        found, metric, rule, limit, confirmation, excuse=not (of_branch and broken)
                    )
                findings.append(found)
                break
    return findings


def _was_broken(metric: Metric, rule: Rule, limit: Quantity, accepted: SuiteBaseline | None) -> bool:
    """Whether the accepted runs break a limit as well: then it is no promise that was kept."""
    history = accepted.accepted_values(metric.name) if accepted else []
    usual = msgspec.structs.replace(metric, value=median(history)) if history else metric
    return bool(history) and passed_over(usual, rule, limit)


def _of_the_machine(found: Finding) -> Finding:
    message = (
        f"{found.message}; nothing that it runs has changed since it was accepted, so this is the machine"
    )
    return msgspec.structs.replace(found, level="info", state="machine", message=message)


def _beside_the_base(
    found: Finding,
    metric: Metric,
    rule: Rule,
    limit: Quantity,
    confirmation: Confirmation,
    *,
    excuse: bool,
) -> Finding:
    """A limit that the head breaks: new where the base keeps it, known where the head is no worse."""
    if shared := confirmation.account.unaccounted(metric.nodeid):
        return _undecided(found, said(shared), shared[0].remedy)
    shown = confirmation.evidence.get(metric.name)
    if shown is None:
        return _undecided(found, "it was not measured beside the base", MORE_TIME)
    slack = min(LIMIT_SLACK, rule.tolerance.to("ratio"))
    beside = _beside(metric, shown)
    base, head = (
        passed_over(msgspec.structs.replace(metric, value=value), rule, limit)
        for value in (shown.base, shown.head)
    )
    if shown.worse(rule.better) and ((head and not base) or shown.decide(rule.better, slack) == "confirmed"):
        return msgspec.structs.replace(found, message=f"{found.message}; {beside}")
    like = head or 1 / _LIKE <= metric.value / max(shown.head, _NOTHING) <= _LIKE
    if not like or not shown.excludes(rule.better, slack):
        why = beside if like else f"another figure than {beside}"
        decides = what_decides(shown, rule.better, slack, limit=True)
        return _undecided(found, why, decides if like else _ITS_FIRST_CALLS)
    if excuse:
        message = f"{found.message}; not by this change: {beside}"
        return msgspec.structs.replace(found, kind="known-limit", level="warn", message=message)
    message = f"{found.message}; the accepted runs break it, too: {beside}"
    return msgspec.structs.replace(found, message=message)


def _undecided(found: Finding, why: str, remedy: str) -> Finding:
    message = f"{found.message}; undecided: {why}"
    return msgspec.structs.replace(found, state="inconclusive", message=message, remedy=remedy)


def _beside(metric: Metric, shown: Evidence) -> str:
    low, high = (format_change(bound) for bound in shown.interval)
    base, head = (format_value(value, metric.unit) for value in (shown.base, shown.head))
    return f"beside the base {base} → {head} ({low} to {high})"


def passed_over(metric: Metric, rule: Rule, limit: Quantity) -> bool:
    """Whether a metric lies on the wrong side of a limit."""
    bound = limit.to(metric.unit)
    return metric.value > bound if rule.better == "lower" else metric.value < bound


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
        reproduce=pytest_command((metric.nodeid,)),
    )
