"""Metrics of a run against those of the accepted runs."""

import math
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import msgspec

from gate.accounts import Difference
from gate.baseline import ENOUGH_RUNS, Baseline, SuiteBaseline
from gate.evidence import Confirmation, Decision, Evidence
from gate.judge.accounting import said
from gate.judge.remedies import BASE
from gate.judge.rules import judge_reach
from gate.judge.screening import Candidate, depends_on_speed, machine_shifts, screen_suite
from gate.judge.undecided import MORE_TIME, what_decides
from gate.model import Metric, Run, SuiteRun, needed_for
from gate.nodeids import pytest_command
from gate.policy import OFF, Policy, Rule
from gate.segments import present_level
from gate.statistics import Screened, common_shift
from gate.units import UnitError, convert, format_bound, format_change, format_value
from gate.verdict import Finding, Kind, State
from pytest_regression_gate.metrics import statistic_of, subject_of

_ASK_THE_BASE: Final = "compare it with the base on this machine: gate check --base REF"
_SOME_FAILED: Final = 0.9
"""Of the measurements that a percentile needs: with fewer, somebody asked for fewer."""
_TIME_WAS_OVER: Final = 0.3
"""Seconds. An operation is measured for 0.4 s: a slower machine makes fewer calls."""
NOTABLE_SHIFT: Final = 0.05
"""A whole machine slower by less than this is not worth a word."""


@dataclass(frozen=True)
class Comparison:
    """What the comparison found, and how much was compared."""

    findings: list[Finding]
    compared: int


def judge_metrics(
    run: Run,
    baseline: Baseline,
    policy: Policy,
    *,
    changed: bool = True,
    confirmation: Confirmation | None = None,
    untouched: Collection[str] = (),
    liberal: bool = False,
    alone: bool = False,
    void: frozenset[str] = frozenset(),
    behind: Collection[str] = (),
    told: Collection[str] = (),
) -> Comparison:
    """Compare work counts exactly and everything else by screening.

    What a test measures that reaches nothing that changed (`untouched`) is never red: what looks slow is the
    machine. A suspect that base and head were compared for on one machine is judged by that comparison, but
    not cleared by it where both cannot be told apart. To find out what to compare, ask liberally: each metric
    alone, by its own history; a suspect then costs seconds, not a red. Where history stands `alone`, since
    there is no base to compare with, it never makes a suspect red. `void` metrics, those of a load that was
    no measurement, are not compared. Where accepted runs are `behind` the base, its own work counts decide as
    far as it was asked, and nothing is called better than what it may not have had. Metrics that are `told`
    to be no longer comparable are not called missing once more.

    Raises:
        LocatedError: an entry's unit does not fit its metric.
    """
    if confirmation and not changed:
        confirmation = replace(confirmation, evidence={}, not_reached=(), not_comparable=())
    findings: list[Finding] = []
    candidates: list[Candidate] = []
    counted = 0
    new: set[str] = set()
    for suite in run.suites.values():
        latest = baseline.latest(suite.name)
        new |= suite.metrics.keys() - latest.metrics.keys() if latest else set()
        findings += _appeared_or_vanished(suite, latest, policy, told)
        comparable = baseline.comparable(suite.name, suite.environment)
        for metric in suite.metrics.values():
            rule = policy.rule(metric)
            if rule.tolerance == OFF:
                continue
            findings += judge_reach(metric, rule, _accepted(metric, latest, comparable))
            if metric.name in void:
                if confirmation and (shown := confirmation.evidence.get(metric.name)):
                    findings += _without_history(metric, rule, shown)
                continue
            if metric.exact:
                accepted = latest.exact.get(metric.name) if latest else None
                asked = confirmation.counts.get(metric.name) if confirmation else None
                counted += accepted is not None or asked is not None
                findings += _compare_counts(
                    metric, rule, accepted, asked, confirmation, behind=suite.name in behind
                )
                continue
            history = comparable.history(metric.name) if comparable else []
            if comparable and history and not metric.few:
                runs = [i for i, accepted in enumerate(comparable.runs) if metric.name in accepted.values]
                level = present_level(history, comparable.accepted_steps(metric.name))
                candidates.append(Candidate(metric, rule, level, runs))
            elif confirmation and (shown := confirmation.evidence.get(metric.name)):
                findings += _without_history(metric, rule, shown)
    screened, found = _screen(candidates, confirmation, untouched=untouched, changed=changed, liberal=liberal)
    if alone:
        found = [
            _by_history_alone(f, screened[f.subject].runs) if f.subject in screened else f for f in found
        ]
    elif policy.inconclusive == "warn":
        lost = confirmation.not_comparable if confirmation else ()
        rules = {f.subject: policy.rule(run.metrics[f.subject]) for f in found if f.subject in run.metrics}
        found = [_let_pass(f, rules[f.subject]) if f.subject in rules.keys() - {*lost} else f for f in found]
    findings += found
    if confirmation:
        told = {finding.subject for finding in findings}
        findings += _reach(run, confirmation, screened, new) + _left_open(run, policy, confirmation, told)
    return Comparison(findings, counted + len(candidates))


def _accepted(metric: Metric, latest: SuiteBaseline | None, here: SuiteBaseline | None) -> float | None:
    """What a metric was in the accepted runs: their median in this environment, or the last count."""
    if metric.exact:
        return latest.exact.get(metric.name) if latest else None
    history = here.history(metric.name) if here else []
    return median(history) if history else None


def _compare_counts(
    metric: Metric,
    rule: Rule,
    accepted: float | None,
    asked: float | None,
    confirmation: Confirmation | None,
    *,
    behind: bool,
) -> list[Finding]:
    """A work count against what was accepted, or against the base where that is younger.

    What the base says always accuses; it excuses only where it had all of its own.
    """
    by_memory = [] if accepted is None else _compare_exact(metric, rule, accepted)
    if asked is None:
        return [f for f in by_memory if not (behind and f.kind == "improvement")]
    by_base = _compare_exact(metric, rule, asked)
    shared = confirmation.account.unaccounted(metric.nodeid) if confirmation else ()
    if by_base or not shared:
        return by_base
    return [f for f in by_memory if f.kind == "regression"]


def _compare_exact(metric: Metric, rule: Rule, before: float) -> list[Finding]:
    """A work count has no noise: any worsening over its tolerance is a fact, not a suspicion."""
    grown = metric.value - before
    worse = grown if rule.better == "lower" else -grown
    allowed = rule.tolerance.to("ratio") * abs(before)
    if worse > max(allowed, rule.floor.to(metric.unit)):
        change = f"{format_value(before, metric.unit)} → {format_value(metric.value, metric.unit)}"
        return [
            _finding(
                metric, rule, "regression", before, state="confirmed",
                message=f"{change}; a work count has no noise, one run is enough",
            )
        ]  # fmt: skip
    if worse < 0:
        change = f"{format_value(before, metric.unit)} → {format_value(metric.value, metric.unit)}"
        return [_finding(metric, rule, "improvement", before, message=change)]
    return []


def _screen(
    candidates: list[Candidate],
    confirmation: Confirmation | None,
    *,
    untouched: Collection[str],
    changed: bool,
    liberal: bool,
) -> tuple[dict[str, Screened], list[Finding]]:
    findings: list[Finding] = []
    answers: dict[str, Screened] = {}
    suites: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        suites[candidate.metric.suite].append(candidate)
    for suite, members in suites.items():
        screened = screen_suite(members, len(candidates), liberal=liberal)
        shifts = machine_shifts(members)
        slower, faster = common_shift(shifts), common_shift([-move for move in shifts])
        for candidate, seen in zip(members, screened, strict=True):
            answers[candidate.metric.name] = seen
            touched = changed and candidate.metric.nodeid not in untouched
            found = _judge(candidate, seen, confirmation, changed=touched, faster=faster)
            findings += [found] if found else []
        if math.expm1(slower) > NOTABLE_SHIFT:
            findings.append(_slow_machine(suite, slower, len(shifts)))
        if math.expm1(faster) > NOTABLE_SHIFT:
            findings.append(_fast_machine(suite, faster, len(shifts)))
    return answers, findings


def _judge(
    candidate: Candidate,
    screened: Screened,
    confirmation: Confirmation | None,
    *,
    changed: bool,
    faster: float,
) -> Finding | None:
    """One metric: what the machine showed if it was asked, else what history says."""
    metric, rule = candidate.metric, candidate.rule
    tolerance, floor = rule.tolerance.to("ratio"), rule.floor.to(metric.unit)
    shown = confirmation.evidence.get(metric.name) if confirmation else None
    if shown and shown.decide(rule.better, tolerance, floor) == "confirmed":
        history = _suspect(metric, rule, screened, changed=True)
        return _after_confirmation(history, metric, "confirmed", shown)
    if abs(metric.value - screened.centre) < floor:
        return None
    worse = screened.relative(rule.better)
    if screened.suspect and worse > tolerance:
        found = _suspect(metric, rule, screened, changed=changed)
        # A ratio to nothing, or of nothing, is none: history alone can tell.
        has_ratio = metric.value > 0 and screened.centre > 0
        return (
            _asked_again(found, metric, rule, confirmation, screened.runs)
            if confirmation and changed and has_ratio
            else found
        )
    # What a faster machine gains as a whole is no merit of the change.
    if screened.improved(faster if depends_on_speed(metric) else 0.0) and -worse > tolerance:
        return _finding(metric, rule, "improvement", screened.centre, message=_figures(metric, screened))
    return None


def _asked_again(
    found: Finding, metric: Metric, rule: Rule, confirmation: Confirmation, runs: int
) -> Finding:
    """A suspect that base and head were to be compared for."""
    if shared := confirmation.account.unaccounted(metric.nodeid):
        return _not_told_apart(found, shared)
    if shown := confirmation.evidence.get(metric.name):
        bounds = rule.better, rule.tolerance.to("ratio"), rule.floor.to(metric.unit)
        found = _after_confirmation(found, metric, shown.decide(*bounds), shown)
        if found.state != "inconclusive":
            return found
        if shown.grave(*bounds):
            return msgspec.structs.replace(found, remedy=what_decides(shown, *bounds))
        return msgspec.structs.replace(found, level="info", message=f"not decided, passed: {found.message}")
    return _not_measured(found, confirmation, runs)


def _without_history(metric: Metric, rule: Rule, shown: Evidence) -> list[Finding]:
    """A metric that only the machine can judge: no accepted run in this environment holds it."""
    decision = shown.decide(rule.better, rule.tolerance.to("ratio"), rule.floor.to(metric.unit))
    if decision != "confirmed":
        return []
    history = "none in this environment"
    found = _finding(metric, rule, "regression", shown.base, message=history)
    found = msgspec.structs.replace(found, history=history)
    return [_after_confirmation(found, metric, decision, shown)]


def _by_history_alone(found: Finding, runs: int) -> Finding:
    """A suspect where there is no base to ask: undecided, or a warning while too few runs are accepted."""
    if found.state != "suspect":
        return found
    if runs >= ENOUGH_RUNS:
        state, level, message = "inconclusive", "fail", f"history alone: {found.message}"
    else:
        state, level, message = "suspect", "warn", f"{found.message}; history can tell from {ENOUGH_RUNS} on"
    return msgspec.structs.replace(found, state=state, level=level, message=message, remedy=_ASK_THE_BASE)


def _let_pass(found: Finding, rule: Rule) -> Finding:
    """An undecided suspect where the policy lets noise pass: not what both sides share or is far beyond."""
    open_ = found.state == "inconclusive" and found.level == "fail" and not found.shared
    if open_ and abs(found.change or 0.0) <= 2 * rule.tolerance.to("ratio"):
        return msgspec.structs.replace(found, level="warn")
    return found


def _not_measured(found: Finding, confirmation: Confirmation, runs: int) -> Finding:
    """A suspect that the comparison did not reach, or cannot compare: history must be long enough to tell."""
    why = "not measured again within the budget"
    if found.subject in confirmation.not_comparable:
        why = "base and head gave nothing to compare (a new or failing test, a percentile of too few calls)"
    message = f"{why}; history alone: {found.message}"
    if runs < ENOUGH_RUNS:
        message = f"not judged yet ({runs} of {ENOUGH_RUNS} accepted runs): {message}"
        return msgspec.structs.replace(found, level="warn", message=message)
    return msgspec.structs.replace(found, state="inconclusive", message=message, remedy=MORE_TIME)


def _not_told_apart(found: Finding, shared: Sequence[Difference]) -> Finding:
    """A suspect for which base and head are the same at some place where they should differ."""
    message = f"{said(shared)}; history alone: {found.message}"
    return msgspec.structs.replace(
        found,
        state="inconclusive",
        level="fail",
        message=message,
        remedy=shared[0].remedy,
        shared=tuple(one.what for one in shared),
    )


def _reach(
    run: Run, confirmation: Confirmation, screened: Mapping[str, Screened], new: Collection[str]
) -> list[Finding]:
    """How far the comparison of base and head came, and how blind the gate is beyond.

    Of what the base cannot have, `new` metrics, another finding speaks.
    """
    metrics = run.metrics
    apart = [name for name in confirmation.not_comparable if name in metrics and name not in new]
    names = [name for name in confirmation.not_reached if name in metrics] + apart
    if not names:
        return []
    seen = sorted((screened[name].visible, name) for name in names if name in screened)
    blind = len(names) - len(seen)
    parts = [f"metrics that were not compared with the base on this machine: {len(names)}"]
    if confirmation.early:
        parts.append("the comparison ended when a regression was confirmed")
    if apart:
        parts.append(f"{len(apart)} of them because base and head gave nothing to compare")
    if seen:
        (least, best), (most, worst) = seen[0], seen[-1]
        parts.append(
            f"screened only, smallest visible change {format_bound(least)} ({best})"
            + (f" to {format_bound(most)} ({worst})" if len(seen) > 1 else "")
        )
    if blind:
        parts.append(f"{blind} without comparable history")
    return [
        Finding(
            kind="environment",
            level="info",
            subject="confirmation",
            message="; ".join(parts),
            remedy="" if confirmation.early or len(names) == len(apart) else MORE_TIME,
        )
    ]


def _left_open(run: Run, policy: Policy, confirmation: Confirmation, told: Collection[str]) -> list[Finding]:
    """What was compared, is no suspect, and stayed undecided: how much worse it could still be.

    What is probably far over its tolerance is inconclusive.
    """
    hidden: list[tuple[float, str]] = []
    open_: list[Finding] = []
    for name, shown in confirmation.evidence.items():
        if name in told or (metric := run.metrics.get(name)) is None:
            continue
        rule = policy.rule(metric)
        bounds = rule.better, rule.tolerance.to("ratio"), rule.floor.to(metric.unit)
        if shown.decide(*bounds) != "inconclusive":
            continue
        if shown.far(*bounds) and not confirmation.account.untouched(metric.nodeid):
            found = _finding(metric, rule, "regression", shown.base, message="not suspected")
            found = _after_confirmation(found, metric, "inconclusive", shown)
            open_.append(msgspec.structs.replace(found, remedy=what_decides(shown, *bounds)))
            continue
        low, high = shown.interval
        hidden.append((high if rule.better == "lower" else -low, name))
    if not hidden:
        return open_
    (least, best), (most, worst) = min(hidden), max(hidden)
    return [
        *open_,
        Finding(
            kind="environment",
            level="info",
            subject="confirmation",
            message=f"metrics that were compared with the base and stayed open: {len(hidden)}; "
            f"changes not ruled out: {format_bound(least)} ({best})"
            + (f" to {format_bound(most)} ({worst})" if len(hidden) > 1 else ""),
            remedy="" if confirmation.early else MORE_TIME,
        ),
    ]


def _figures(metric: Metric, screened: Screened) -> str:
    before, now = format_value(screened.centre, metric.unit), format_value(metric.value, metric.unit)
    return f"{before} → {now} ({format_change(screened.change)})"


def _suspect(metric: Metric, rule: Rule, screened: Screened, *, changed: bool) -> Finding:
    runs = f"{screened.runs} accepted run{'s' if screened.runs > 1 else ''}"
    noise = format_bound(screened.visible)
    message = f"{_figures(metric, screened)}; noise: {noise} ({runs})"
    if not changed:
        message = f"{_figures(metric, screened)}; nothing changed that it runs, so this is the machine"
    state = "suspect" if changed else "machine"
    found = _finding(metric, rule, "regression", screened.centre, state=state, message=message)
    return msgspec.structs.replace(found, history=f"{format_change(screened.change)} (noise {noise})")


def _after_confirmation(found: Finding, metric: Metric, decision: Decision, shown: Evidence) -> Finding:
    """A suspect after base and head were measured on one machine: what machine and history said."""
    low, high = (format_bound(bound, shown.change) for bound in shown.interval)
    before, after = (format_value(value, metric.unit) for value in (shown.base, shown.head))
    launches = f"{len(shown.ratios)} launch{'es' * (len(shown.ratios) != 1)}"
    machine = f"{before} → {after} ({format_change(shown.change)}, {low} to {high}, {launches})"
    return msgspec.structs.replace(
        found,
        level="info" if decision == "cleared" else "fail",
        state=decision,
        baseline=shown.base,
        head=shown.head,
        change=shown.change,
        interval=shown.interval,
        message=f"on this machine base → head {machine}; history: {found.message}",
        reproduce=f"gate confirm {shlex.quote(metric.name)} --base {BASE}",
    )


def _fast_machine(suite: str, common: float, metrics: int) -> Finding:
    percent = format_change(math.expm1(-common))
    return Finding(
        kind="environment",
        level="info",
        subject="machine",
        suite=suite,
        message=f"the whole machine was faster than on the baseline ({percent} over {metrics} metrics); "
        "no metric's improvement counts that",
    )


def _slow_machine(suite: str, common: float, metrics: int) -> Finding:
    percent = format_change(math.expm1(common))
    return Finding(
        kind="environment",
        level="warn",
        subject="machine",
        suite=suite,
        message=f"the whole machine was slower than on the baseline ({percent} over {metrics} metrics); "
        "this share was taken out of the comparisons",
        remedy="run again on a quiet machine if a slowdown of everything is possible",
    )


def _finding(
    metric: Metric, rule: Rule, kind: Kind, before: float, *, message: str, state: State | None = None
) -> Finding:
    return Finding(
        kind=kind,
        level="fail" if kind == "regression" and state != "machine" else "info",
        subject=metric.name,
        suite=metric.suite,
        state=state,
        baseline=before,
        head=metric.value,
        unit=metric.unit,
        change=(metric.value - before) / abs(before) if before else None,
        message=message,
        rule=rule.cite("tolerance"),
        nodeids=(metric.nodeid,),
        reproduce=pytest_command((metric.nodeid,)),
    )


def _appeared_or_vanished(
    suite: SuiteRun, latest: SuiteBaseline | None, policy: Policy, told: Collection[str]
) -> list[Finding]:
    """Metrics by subject: a sample that vanished is one fact, not six. What is told already, is not again."""
    if latest is None:
        return []
    there = [name for name in latest.metrics if name not in told and subject_of(name) not in told]
    measured = [name for name in there if _was_measured(suite, latest.metrics[name].nodeid)]
    findings = [
        Finding(
            kind="missing-metric",
            level="fail",
            subject=subject,
            suite=suite.name,
            message=f"is in the baseline and was not measured ({', '.join(statistics)})",
            nodeids=(latest.metrics[names[0]].nodeid,),
            remedy="restore the measurement",
        )
        for subject, names, statistics in _by_subject(name for name in measured if name not in suite.metrics)
    ]
    findings += [
        _too_few(metric, _seconds(metric, suite))
        for name in measured
        if (metric := _thinned(name, suite, latest, policy))
    ]
    findings += [
        Finding(
            kind="new-metric",
            level="info",
            subject=subject,
            suite=suite.name,
            message=f"measured for the first time ({', '.join(statistics)})",
            nodeids=(suite.metrics[names[0]].nodeid,),
        )
        for subject, names, statistics in _by_subject(
            name for name in suite.metrics if name not in latest.metrics
        )
    ]
    return findings


def _thinned(name: str, suite: SuiteRun, latest: SuiteBaseline, policy: Policy) -> Metric | None:
    """A percentile that the accepted runs hold of enough measurements, and the run of too few."""
    metric, known = suite.metrics.get(name), latest.metrics[name]
    if metric is None or not metric.few or known.few or known.method != metric.method:
        return None
    return None if policy.rule(metric).tolerance == OFF else metric


def _seconds(metric: Metric, suite: SuiteRun) -> float:
    """How long the measurements of a latency took together; 0: nobody knows."""
    means = (m for m in suite.metrics.values() if m.statistic == "mean" and m.subject == metric.subject)
    with suppress(UnitError):
        return next((convert(m.value, m.unit, "s") * m.count for m in means), 0.0)
    return 0.0


def _too_few(metric: Metric, seconds: float) -> Finding:
    """Fewer than were asked for: a few requests failed, the time was over, or somebody asked for fewer."""
    needed = needed_for(metric.statistic)
    enough = metric.count >= _SOME_FAILED * needed or seconds >= _TIME_WAS_OVER
    return Finding(
        kind="missing-metric",
        level="warn" if enough else "fail",
        subject=metric.name,
        suite=metric.suite,
        message=f"has {metric.count:,} measurements and needs {needed:,} to be compared, as it was before",
        nodeids=(metric.nodeid,),
        remedy=f"record at least {needed:,} measurements",
    )


def _was_measured(suite: SuiteRun, nodeid: str) -> bool:
    """Whether a metric's test ran to its end: if not, the test's own finding says all."""
    test = suite.tests.get(nodeid)
    return test is not None and not test.failed and not test.silent


def _by_subject(names: Iterable[str]) -> list[tuple[str, list[str], list[str]]]:
    """Group metric names that differ in their statistic only; a lone metric is its own subject.

    Returns:
        (subject, metric names, statistics) in order of first appearance.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[subject_of(name)].append(name)
    return [
        (subject if len(group) > 1 else group[0], group, [statistic_of(name) for name in group])
        for subject, group in groups.items()
    ]
