"""Why a metric is judged as it is: rule, history, reference, steps, findings. Pure; prints nothing."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from statistics import median
from typing import Final

from gate.accounts import Account
from gate.baseline import Baseline, KnownMetric, Pin, SuiteBaseline
from gate.changepoints import Step, change_points, noise
from gate.judge.drift import RECENT
from gate.located import Place
from gate.nodeids import pytest_command
from gate.policy import BUILT_IN, FLOORS, OFF, Entry, Policy, Specificity, split_pattern
from gate.segments import present_level
from gate.statistics import screen
from gate.units import Quantity, dimension
from gate.verdict import Finding, Verdict
from pytest_regression_gate.metrics import split_name, subject_of

FIELDS: Final = ("better", "tolerance", "floor", "target", "warning", "critical")
MOST: Final = 8
"""How many metrics are explained at once."""


@dataclass(frozen=True)
class Candidate:
    """Something that could decide a field of a metric's rule."""

    value: str
    source: str
    """`metrics[*.p95]`, `built-in [*.p95]`, `defaults`, ..."""
    place: str = ""
    """`file:line`, if it stands in a file."""


@dataclass(frozen=True)
class Field:
    """One field of a rule: what decides it, why, and what else would have."""

    name: str
    winner: Candidate
    why: str
    losers: tuple[Candidate, ...]


@dataclass(frozen=True)
class LocatedStep:
    """A change of level and the accepted run that began it."""

    step: Step
    commit: str
    created: str


@dataclass(frozen=True)
class History:
    """What the baseline knows of a metric in one environment. Values in the metric's unit."""

    environment: str
    runs: int
    first: str
    """When the oldest kept run was measured, ISO 8601."""
    last: str
    centre: float
    newest: float
    noise: float
    """From run to run, as sd of the log."""
    visible: float
    """The smallest worsening that the screen can see with this history, relative; 0: any."""
    pin: Pin | None
    recent: float
    """Median of the newest accepted runs."""
    steps: tuple[LocatedStep, ...]


@dataclass(frozen=True)
class ExplainedMetric:
    """One metric: who measures it, which rule holds, what is remembered."""

    name: str
    unit: str
    """Empty if nothing measured it yet."""
    suite: str
    nodeid: str
    exact: bool
    fields: tuple[Field, ...]
    histories: tuple[History, ...]


@dataclass(frozen=True)
class Explanation:
    """The answer to `gate explain SUBJECT`."""

    subject: str
    metrics: tuple[ExplainedMetric, ...]
    omitted: tuple[str, ...]
    """Further metrics that the subject means."""
    tests: tuple[str, ...]
    """Tests that measure the metrics, or that the subject names."""
    findings: tuple[Finding, ...] | None
    """What the verdict says about it; None: no verdict was given."""
    base: str
    """The commit to compare with."""
    account: Account | None = None
    """What differs between base and head; None: nobody looked for these tests."""

    @property
    def commands(self) -> tuple[str, ...]:
        """How to see it on another machine."""
        subjects = [self.subject]
        if self.subject in self.tests:
            subjects = list(dict.fromkeys(subject_of(metric.name) for metric in self.metrics))
        return (
            *(f"gate confirm {shlex.quote(subject)} --base {self.base}" for subject in subjects),
            *(pytest_command((nodeid,)) for nodeid in self.tests),
        )


class UnknownSubject(Exception):  # noqa: N818 - said to people, who asked about a subject
    """Nothing is known by this name; `alike` holds names that are."""

    def __init__(self, subject: str, alike: tuple[str, ...]) -> None:
        hint = (
            f"; did you mean {', '.join(alike)}?" if alike else "; gate baseline show '*' lists all metrics"
        )
        super().__init__(f"no metric and no test is called {subject!r}{hint}")
        self.alike = alike


def explain(subject: str, baseline: Baseline, policy: Policy, verdict: Verdict | None = None) -> Explanation:
    """Gather everything about a metric, a subject, a test or what a glob matches.

    Raises:
        UnknownSubject: nothing in baseline, policy or verdict goes by that name.
    """
    known = {name: m for suite in baseline.suites for name, m in suite.metrics.items()}
    nodeids = {nodeid for suite in baseline.suites for nodeid in suite.tests} | {
        m.nodeid for m in known.values()
    }
    said = verdict.findings if verdict else ()
    nodeids |= {nodeid for finding in said for nodeid in finding.nodeids}
    names = _meant(subject, sorted({*known, *_names_of(said), *_exact_entries(policy)}), known)
    tests = tuple(dict.fromkeys(known[name].nodeid for name in names if name in known))
    if not names and subject in nodeids:
        tests = (subject,)
    if not names and not tests and not baseline.suites and _is_name(subject):
        names = [subject]
    if not names and not tests:
        subjects = {subject_of(name) for name in known}
        candidates = sorted({*known, *subjects, *nodeids, *_exact_entries(policy)})
        raise UnknownSubject(subject, tuple(get_close_matches(subject, candidates, n=3, cutoff=0.5)))
    about = {*names, *map(subject_of, names), *tests}
    return Explanation(
        subject=subject,
        metrics=tuple(_explained(name, known.get(name), baseline, policy) for name in names[:MOST]),
        omitted=tuple(names[MOST:]),
        tests=tests,
        findings=tuple(f for f in said if f.subject in about) if verdict else None,
        base=(verdict.base.commit if verdict else "") or "origin/main",
        account=_account_of(tests, verdict.account if verdict else None),
    )


def _account_of(tests: Iterable[str], account: Account | None) -> Account | None:
    """The part of an account that is about some tests."""
    known = {test: account.tests[test] for test in tests if test in account.tests} if account else {}
    return Account(account.differences, known) if account and known else None


def _meant(subject: str, names: list[str], known: dict[str, KnownMetric]) -> list[str]:
    """The metrics that a person means: a name, else a subject, a test or a glob."""
    if subject in names:
        return [subject]
    of_subject = [name for name in names if subject in {subject_of(name), split_name(subject_of(name))[0]}]
    of_test = [name for name, metric in known.items() if metric.nodeid == subject]
    if of_subject or of_test:
        return of_subject or sorted(of_test)
    if not _is_pattern(subject):
        return []
    pattern = Entry(subject, Place(0, 0), {})
    return [name for name in names if pattern.matches(name)]


def _is_pattern(text: str) -> bool:
    try:
        split_pattern(text)
    except ValueError:
        return False
    return True


def _is_name(text: str) -> bool:
    return "*" not in text and _is_pattern(text)


def _names_of(findings: Iterable[Finding]) -> set[str]:
    """Metrics that findings are about; a finding about one has a unit."""
    return {finding.subject for finding in findings if finding.unit and _is_name(finding.subject)}


def _exact_entries(policy: Policy) -> set[str]:
    return {entry.pattern for entry in policy.entries if _is_name(entry.pattern)}


def _explained(name: str, metric: KnownMetric | None, baseline: Baseline, policy: Policy) -> ExplainedMetric:
    holding = [suite for suite in baseline.suites if suite.history(name)]
    return ExplainedMetric(
        name=name,
        unit=metric.unit if metric else "",
        suite=holding[0].suite if holding else "",
        nodeid=metric.nodeid if metric else "",
        exact=metric.exact if metric else False,
        fields=rule_fields(name, metric, policy),
        histories=tuple(_history(name, metric, suite) for suite in holding if metric),
    )


def rule_fields(name: str, metric: KnownMetric | None, policy: Policy) -> tuple[Field, ...]:
    """Per field of a metric's rule what decides it, in the order of `Policy.rule`, and what loses.

    Args:
        name: the metric's name.
        metric: what is known of it; None: it was never measured, so its unit and direction are open.
        policy: the rules.
    """
    exact = metric is not None and metric.exact
    entries = [e for e in (*(() if exact else BUILT_IN), *policy.entries) if e.matches(name)]
    ranked = sorted(entries, key=lambda entry: entry.specificity)[::-1]
    fields: list[Field] = []
    for field in FIELDS:
        rivals = [entry for entry in ranked if field in entry.values]
        fallback = _fallback(field, metric, policy)
        candidates = [_candidate(entry, field, policy) for entry in rivals] + ([fallback] if fallback else [])
        if candidates:
            fields.append(Field(field, candidates[0], _why(rivals), tuple(candidates[1:])))
    return tuple(fields)


def _candidate(entry: Entry, field: str, policy: Policy) -> Candidate:
    value = _said(entry.values[field])
    if entry in BUILT_IN:
        return Candidate(value, f"built-in [{entry.pattern}]")
    return Candidate(value, f"metrics[{entry.pattern}]", f"{policy.source}:{entry.place.line}")


def _said(value: Quantity | str) -> str:
    """A value as one would write it in the policy."""
    return "off" if value == OFF else str(value)


def _fallback(field: str, metric: KnownMetric | None, policy: Policy) -> Candidate | None:
    """What holds where no entry says anything."""
    nothing = Quantity(0, "")
    match field:
        case "tolerance":
            return (
                Candidate(str(nothing), "work count")
                if metric is not None and metric.exact
                else Candidate(_said(policy.tolerance), "defaults")
            )
        case "better" if metric is not None:
            return Candidate(metric.better, "the suite")
        case "floor" if metric is not None and not metric.exact:
            floor = FLOORS.get(dimension(metric.unit) or "")
            return Candidate(str(floor), "built-in") if floor else None
        case _:
            return None


def _why(rivals: list[Entry]) -> str:
    """Why the first of the entries decides, from the order of precedence."""
    if not rivals:
        return "no entry says otherwise"
    if len(rivals) == 1:
        return "the only entry"
    first, second = rivals[0], rivals[1]
    pairs = zip(Specificity._fields, first.specificity, second.specificity, strict=True)
    deciding = next(((name, ours, theirs) for name, ours, theirs in pairs if ours != theirs), None)
    if deciding is None:
        return "as specific, and later in the file"
    name, ours, theirs = deciding
    return _MORE[name] + ("" if isinstance(ours, bool) else f": {ours} before {theirs}")


_MORE: Final = {
    "of_the_file": "an entry before a built-in one",
    "exact": "an exact name before a glob",
    "literal": "more literal characters",
    "exact_labels": "more exact labels",
    "literal_labels": "more literal characters in labels",
    "labels": "more labels",
}
"""What is said where a field of `Specificity` decides."""


def _history(name: str, metric: KnownMetric, suite: SuiteBaseline) -> History:
    runs = [run for run in suite.runs if name in run.values]
    values = [run.values[name] for run in runs]
    level = present_level(values, suite.accepted_steps(name))
    screened = screen(level.values, values[-1], metric.better, at_level=level.runs, segments=level.segments)
    return History(
        environment=suite.environment.id,
        runs=len(runs),
        first=runs[0].created,
        last=runs[-1].created,
        centre=screened.centre,
        newest=values[-1],
        noise=noise(values),
        visible=0.0 if metric.exact else screened.visible,
        pin=suite.reference(name),
        recent=median(values[-RECENT:]),
        steps=tuple(
            LocatedStep(step, runs[step.index].commit, runs[step.index].created)
            for step in change_points(values)
        ),
    )
