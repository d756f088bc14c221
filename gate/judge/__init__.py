"""(Run, Inputs, Confirmation) -> Verdict. Pure: same input, same verdict; no file, no clock, no network."""

from collections import Counter
from collections.abc import Collection
from typing import Final

from gate.accounts import NO_ACCOUNT
from gate.baseline import Baseline
from gate.evidence import Confirmation
from gate.judge.accounting import judge_accounts, untouched_tests, with_causes
from gate.judge.drift import judge_drift
from gate.judge.inputs import Inputs
from gate.judge.known import expected_of, judge_known_failures
from gate.judge.limits import judge_limits
from gate.judge.loads import judge_loads
from gate.judge.metrics import judge_metrics
from gate.judge.moved import judge_moves
from gate.judge.outcomes import judge_outcomes
from gate.judge.remedies import with_remedies
from gate.judge.rules import judge_rules
from gate.judge.surroundings import judge_surroundings
from gate.judge.values import judge_values
from gate.model import Run, SuiteRun
from gate.policy import Policy
from gate.verdict import (
    EXIT_CODES,
    SCHEMA,
    Commit,
    EnvironmentSummary,
    Finding,
    SkippedTest,
    SuiteSummary,
    Summary,
    TestCounts,
    Verdict,
    decide,
    in_reading_order,
    strictly,
)
from gate.waivers import apply_waivers
from pytest_regression_gate.metrics import UNKNOWN_ENVIRONMENT, Environment

__all__ = ["Inputs", "judge"]


def judge(
    run: Run, inputs: Inputs, confirmation: Confirmation | None = None, *, liberal: bool = False
) -> Verdict:
    """Judge a run.

    Args:
        run: what was measured, problems included, in the names and units of the baseline.
        inputs: what it is judged by.
        confirmation: what the comparison of base and head on one machine showed.
        liberal: suspect generously, to find what should be measured again; not for a final verdict.

    Raises:
        LocatedError: a limit's unit does not fit the metric it is for.
    """
    policy, baseline, base = inputs.policy, inputs.baseline, inputs.base
    moved = {new: old for names in inputs.moved.values() for new, old in names.items()}
    expected = expected_of(run, policy, moved)
    findings = [*inputs.notes, *judge_moves(run, expected)]
    findings += [
        Finding(kind="report-error", level="fail", subject=p.subject, message=p.message, remedy=p.remedy)
        for p in run.problems
    ]
    findings += _not_judged(run, inputs)
    findings += [_of_another_history(name) for name in sorted(baseline.unplaced & run.suites.keys())]
    behind = frozenset[str]() if inputs.of_branch else inputs.behind
    void: frozenset[str] = frozenset()
    account = confirmation.account if confirmation else NO_ACCOUNT
    untouched = untouched_tests(run, inputs.untouched, account)
    for suite in run.suites.values():
        loads = judge_loads(suite, policy, untouched=untouched, confirmation=confirmation)
        void |= loads.void
        findings += judge_outcomes(
            suite,
            baseline.latest(suite.name),
            _here(suite, baseline),
            expected,
            confirmation.reruns if confirmation else {},
            flaky=policy.flaky,
            excuse=not inputs.of_branch,
            ask=suite.name in behind and (liberal or confirmation is not None),
            touched=inputs.touched,
            account=account,
        )
        findings += loads.findings
        findings += judge_values(suite, policy)
        findings += _untimed(suite)
        accepted = baseline.comparable(suite.name, suite.environment)
        findings += judge_limits(
            suite,
            policy,
            loads.void,
            untouched=untouched,
            accepted=accepted,
            confirmation=confirmation,
            of_branch=inputs.of_branch,
        )
        findings += _comparability(suite, baseline)
    findings += judge_known_failures(
        run,
        baseline,
        policy,
        expected,
        touched=inputs.touched,
        scheduled=inputs.scheduled,
        proposed=inputs.proposed,
    )
    if inputs.of_branch or not base:
        findings += _forgotten(run, baseline, policy)
    if not run.problems and policy.suites.keys() <= run.suites.keys():
        findings += judge_rules(run, policy, baseline)
    alone = bool(inputs.unconfirmed) and (inputs.alone or not base)
    told = {note.subject for note in inputs.notes if note.kind == "missing-metric"}
    told |= {value.subject for suite in run.suites.values() for value in suite.invalid if value.recorded}
    comparison = judge_metrics(
        run, baseline, policy, changed=inputs.changed, confirmation=confirmation, untouched=untouched,
        liberal=liberal, alone=alone, void=void, behind=behind,
        told=told,
    )  # fmt: skip
    findings += comparison.findings
    findings += judge_drift(run, baseline, policy, named=_named(comparison.findings) | void)
    findings += _judged_less(findings) if base and not run.problems else []
    findings += _of_the_base(findings, run, behind)
    if inputs.unconfirmed and base and any(finding.state == "suspect" for finding in findings):
        message = inputs.unconfirmed
        findings.append(Finding(kind="environment", level="warn", subject="confirmation", message=message))
    if confirmation:
        findings += [
            Finding(kind="environment", level="warn", subject="confirmation", message=note)
            for note in confirmation.notes
        ]
        findings += judge_accounts(run, account, baseline, findings)
        findings = with_causes(findings, account)
        findings += [_INTERRUPTED] if confirmation.interrupted else []
    by_change = inputs.equips or not base or inputs.of_branch
    findings += judge_surroundings(run, baseline, findings, by_change=by_change)
    findings = with_remedies(findings, base, change=bool(base) and not inputs.of_branch)
    findings, used = apply_waivers(findings, inputs.waivers, inputs.behind if inputs.of_branch else ())
    ordered = in_reading_order([strictly(finding) for finding in findings] if inputs.strict else findings)
    word = "inconclusive" if confirmation and confirmation.interrupted else decide(ordered)
    suites = tuple(
        _suite_summary(run.suites[name], baseline, inputs.reports.get(name, ""))
        for name in sorted(run.suites)
    )
    return Verdict(
        schema=SCHEMA,
        verdict=word,
        exit_code=EXIT_CODES[word],
        head=Commit(run.commit),
        base=Commit(base),
        policy=policy.source,
        environment=min(
            (suite.environment for suite in suites),
            key=lambda environment: environment.comparable_runs,
            default=EnvironmentSummary("", 0),
        ),
        suites=suites,
        summary=_summary(run, comparison.compared, ordered),
        findings=ordered,
        waivers=used,
        skipped=_skipped(run),
        account=account if account.tests else None,
    )


def _of_another_history(suite: str) -> Finding:
    return Finding(
        kind="environment",
        level="fail",
        subject="baseline",
        suite=suite,
        state="inconclusive",
        message=f"no accepted run of suite {suite!r} is of a commit in this history; the run is compared "
        "with all accepted runs, by date",
        remedy="merge the base branch; if the history was rewritten, accept a run: gate baseline update",
    )


def _here(suite: SuiteRun, baseline: Baseline) -> str:
    """The id under which the baseline knows where a suite was run; empty: not at all."""
    known = baseline.measured_on(suite.name, suite.environment)
    return known.environment.id if known else ""


_INTERRUPTED: Final = Finding(
    kind="environment",
    level="fail",
    subject="confirmation",
    state="inconclusive",
    message="the comparison of base and head was interrupted; what was measured until then is judged",
    remedy="run gate check again",
)


def _named(findings: list[Finding]) -> frozenset[str]:
    """Metrics that are called slower already."""
    known = {"cleared", "machine"}
    return frozenset(f.subject for f in findings if f.kind == "regression" and f.state not in known)


def _untimed(suite: SuiteRun) -> list[Finding]:
    """Say that benchmarks of another plugin measured nothing."""
    untimed = [test.nodeid for test in suite.tests.values() if test.untimed and not test.failed]
    if not untimed:
        return []
    more = f" and {len(untimed) - 1} more" if len(untimed) > 1 else ""
    return [
        Finding(
            kind="missing-metric",
            level="warn",
            subject=suite.name,
            suite=suite.name,
            message=f"{untimed[0]}{more} used a benchmark fixture, but pytest-benchmark timed nothing",
            remedy="remove --benchmark-disable and -n, or use the measure fixture",
        )
    ]


def _judged_less(findings: list[Finding]) -> list[Finding]:
    """Who takes tests or metrics away changes what is judged; that belongs to the changed rules."""
    found: list[Finding] = []
    missing = [f for f in findings if f.kind in {"missing-test", "missing-metric"} and f.subject != f.suite]
    for suite in sorted({f.suite for f in missing if f.suite}):
        gone = Counter(f.kind for f in missing if f.suite == suite)
        words = [
            f"{gone[kind]} {noun}{'s' * (gone[kind] != 1)}"
            for kind, noun in (("missing-test", "test"), ("missing-metric", "metric"))
            if gone[kind]
        ]
        message = f"has less to judge than the base: {' and '.join(words)} of it did not run"
        found.append(Finding(kind="policy-change", level="warn", subject=suite, suite=suite, message=message))
    return found


def _of_the_base(findings: list[Finding], run: Run, behind: Collection[str]) -> list[Finding]:
    """Say where something is red that only a memory older than the base knows otherwise."""
    exact = {metric.name for metric in run.metrics.values() if metric.exact}
    lost = {"missing-test", "missing-metric", "newly-skipped"}
    red = {
        finding.suite
        for finding in findings
        if finding.level == "fail"
        and (finding.kind in lost or (finding.kind == "regression" and finding.subject in exact))
    }
    return [
        Finding(
            kind="environment",
            level="warn",
            subject=suite,
            suite=suite,
            message="the accepted runs are older than the base: what the base itself has lost or raised is "
            "red here, too",
            remedy="accept a run of the base: gate baseline update; if it is worse, accept --reason TEXT",
        )
        for suite in sorted(red.intersection(behind))
    ]


def _not_judged(run: Run, inputs: Inputs) -> list[Finding]:
    """Suites of the policy without a report, and a run that holds nothing at all.

    With a base every suite needs one, unless somebody said which to judge: who can take a report away could
    take what is red.
    """
    policy = inputs.policy
    if not run.suites and not run.problems:
        message, remedy = "there is no report to judge", "run the suites: gate run"
        return [Finding(kind="report-error", level="fail", subject="run", message=message, remedy=remedy)]
    told = {note.suite for note in inputs.notes if note.kind == "missing-test"}
    lost = set[str]() if run.problems else policy.suites.keys() - run.suites.keys() - told
    return [
        Finding(
            kind="report-error",
            level="fail",
            subject=name,
            suite=name,
            message="there is no report of this suite",
            remedy=f"run it, or say which suites to judge: gate check --suite {next(iter(run.suites))}",
        )
        if inputs.base and not inputs.only
        else Finding(
            kind="environment",
            level="warn",
            subject=name,
            suite=name,
            message=f"suite {name!r} was not judged: no report of it was given",
        )
        for name in sorted(lost)
    ]


def _forgotten(run: Run, baseline: Baseline, policy: Policy) -> list[Finding]:
    """Suites that were accepted and that the rules do not name any more: nobody would miss their tests."""
    known = {known.suite for known in baseline.overall} - baseline.unplaced
    lost = known - policy.suites.keys() - run.suites.keys()
    return [
        Finding(
            kind="missing-test",
            level="fail",
            subject=name,
            suite=name,
            message=f"has accepted runs, but {policy.source or 'thresholds.yaml'} does not name this suite",
            remedy=f"restore it, or remove its accepted runs, the files {name}.jsonl of the baseline",
        )
        for name in sorted(lost)
    ]


def _comparability(suite: SuiteRun, baseline: Baseline) -> list[Finding]:
    """Say loudly when a suite's measurements could not be compared with anything, or with another place's."""
    if suite.environment == UNKNOWN_ENVIRONMENT:
        return [
            Finding(
                kind="environment",
                level="warn",
                subject=suite.name,
                suite=suite.name,
                message="the report names no machine, because the gate's plugin is not installed where the "
                "suite runs; only limits, work counts and test outcomes were judged",
                remedy="install pytest-regression-gate in the suite's environment (README, Quick start)",
            )
        ]
    known = baseline.comparable(suite.name, suite.environment)
    if known is not None and known.runs:
        differences = suite.environment.differences(known.environment)
        return [_nearest(suite, known.environment, differences)] if differences else []
    remedy = "add runs of accepted code with gate baseline update"
    if suite.machines:
        machines = ", ".join(machine.id for machine in suite.machines)
        message = (
            f"the shards of suite {suite.name!r} were measured on different machines ({machines}): "
            "judged by limits, work counts and tests; times were not compared with history"
        )
        remedy = (
            "run its shards on one kind of machine, or compare base and head in each: gate confirm --keep"
        )
    elif baseline.latest(suite.name) is None:
        message = f"no accepted run of suite {suite.name!r} yet: judged by limits alone"
    else:
        message = (
            f"no accepted run of suite {suite.name!r} in this environment ({suite.environment.id}): "
            "judged by limits, work counts and tests; times were not compared"
        )
    return [
        Finding(
            kind="environment",
            level="warn",
            subject=suite.environment.id,
            suite=suite.name,
            message=message,
            remedy=remedy,
        )
    ]


def _nearest(suite: SuiteRun, other: Environment, differences: tuple[str, ...]) -> Finding:
    return Finding(
        kind="environment",
        level="info",
        subject=suite.environment.id,
        suite=suite.name,
        message=f"no accepted run in this environment; times were compared with the nearest one, {other.id} "
        f"(here: {'; '.join(differences)})",
    )


def _suite_summary(suite: SuiteRun, baseline: Baseline, report: str) -> SuiteSummary:
    known = baseline.comparable(suite.name, suite.environment)
    return SuiteSummary(
        name=suite.name,
        environment=EnvironmentSummary(
            known.environment.id if known else suite.environment.id, len(known.runs) if known else 0
        ),
        tests=len(suite.tests),
        metrics=len(suite.metrics),
        report=report,
    )


def _summary(run: Run, compared: int, findings: tuple[Finding, ...]) -> Summary:
    levels = Counter(finding.level for finding in findings)
    return Summary(
        tests=_test_counts(run),
        metrics=len(run.metrics),
        compared=compared,
        fail=levels["fail"],
        warn=levels["warn"],
    )


def _skipped(run: Run) -> tuple[SkippedTest, ...]:
    tests = (test for suite in run.suites.values() for test in suite.tests.values())
    return tuple(
        SkippedTest(test.nodeid, test.reason)
        for test in sorted(tests, key=lambda test: test.nodeid)
        if test.outcome == "skipped"
    )


def _test_counts(run: Run) -> TestCounts:
    tests = [test for suite in run.suites.values() for test in suite.tests.values()]
    failed, silent = sum(test.failed for test in tests), sum(test.silent for test in tests)
    return TestCounts(passed=len(tests) - failed - silent, failed=failed, skipped=silent)
