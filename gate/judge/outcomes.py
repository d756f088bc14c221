"""Tests of a run against what the last accepted run says of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from gate.accounts import NO_ACCOUNT, Account, Difference
from gate.baseline import KnownTest, Permission, SuiteBaseline
from gate.evidence import Rerun
from gate.judge.accounting import said
from gate.judge.known import Expected, is_of
from gate.judge.undecided import MORE_TIME
from gate.model import SuiteRun, TestOutcome
from gate.nodeids import above, pytest_command, resembling
from gate.verdict import Finding, Kind, Level

_MOST_PAIRS: Final = 20_000
"""Missing times new tests: beyond it nobody looks which of them resemble each other."""


def judge_outcomes(
    suite: SuiteRun,
    known: SuiteBaseline | None,
    here: str,
    expected: Expected,
    reruns: Mapping[str, Rerun],
    *,
    flaky: Level = "warn",
    excuse: bool = True,
    ask: bool = False,
    touched: Collection[str] = (),
    account: Account = NO_ACCOUNT,
) -> list[Finding]:
    """Judge every test of a suite, and every test that is no longer there.

    Without an accepted run every failure is new, and nothing can be missing.

    Args:
        suite: what became of the tests.
        known: what is expected of the suite.
        here: the id of the environment that it ran in.
        expected: which failures the policy permits.
        reruns: what failing tests did when they were run again, by nodeid.
        flaky: what a test means that fails only sometimes.
        excuse: whether a failure is known because the base fails in the same way.
        ask: the accepted runs are older than the base: what they permit the base must show as well.
        touched: files that the change touches.
        account: what base and head had of their own.
    """
    before: Mapping[str, KnownTest] = known.tests if known else {}
    skips = known.skips.get(here, frozenset()) if known else frozenset[str]()
    ran = known.ran.get(here, frozenset()) if known else frozenset[str]()
    lacks = known.lacks.get(here, frozenset()) if known else frozenset[str]()
    findings = [_flaky(test, flaky) for test in suite.tests.values() if test.flaky and test.silent]
    findings += [
        _flaky(test, flaky)
        if test.flaky and not test.silent
        else _judge(
            test,
            before.get(test.nodeid),
            expected,
            first_run=known is None,
            skipped_here=test.nodeid in skips,
            ask=ask,
            ran_here=test.nodeid in ran or is_of(touched, test.nodeid),
        )
        for test in suite.tests.values()
    ]
    findings = [
        _after_rerun(
            finding,
            reruns[finding.subject],
            flaky,
            excuse=excuse,
            shared=account.unaccounted(finding.subject),
            passed=_passed(before.get(finding.subject)),
        )
        if finding and finding.level == "fail" and finding.subject in reruns
        else finding
        for finding in findings
    ]
    return [finding for finding in findings if finding is not None] + _gone(
        suite, {nodeid: test for nodeid, test in before.items() if nodeid not in lacks}
    )


def _gone(suite: SuiteRun, before: Mapping[str, KnownTest]) -> list[Finding]:
    """Tests of the baseline that the run does not have.

    Those of a file that could not be collected are told by its failure; such a file of the baseline is gone
    when its tests run.
    """
    missing = {nodeid: known for nodeid, known in before.items() if nodeid not in suite.tests}
    if not missing:
        return []
    uncollected = {test.nodeid for test in suite.tests.values() if test.failed}
    collected = {name for nodeid in suite.tests for name in above(nodeid)}
    new = [nodeid for nodeid in suite.tests if nodeid not in before]
    if len(missing) * len(new) > _MOST_PAIRS:
        new = []
    findings: list[Finding] = []
    for nodeid, known in missing.items():
        if not uncollected.isdisjoint(above(nodeid)):
            continue
        if known.failed and nodeid in collected:
            message = "could not be collected in the accepted runs, its tests run now"
            findings.append(
                Finding(kind="fixed", level="info", subject=nodeid, suite=suite.name, message=message)
            )
        else:
            findings.append(_missing(suite.name, nodeid, resembling(nodeid, new)))
    return findings


def _judge(
    test: TestOutcome,
    before: KnownTest | None,
    expected: Expected,
    *,
    first_run: bool,
    skipped_here: bool,
    ask: bool,
    ran_here: bool,
) -> Finding | None:
    """Judge a test; that it is skipped in this environment may have been accepted."""
    if test.failed:
        return _failed(test, before, expected, ask=ask)
    if before is None:
        message = f"new, {test.outcome}" + (f": {test.reason}" if test.reason else "")
        return None if first_run else _finding(test, "new-test", "info", message)
    if test.silent and not skipped_here and before.outcome not in {"skipped", "xfailed"}:
        how = "expected to fail" if test.outcome == "xfailed" else "skipped"
        why = test.reason or "no reason given"
        if not ran_here:
            message = f"{how} here: {why}. Accepted runs ran it only in other environments"
            return _finding(test, "newly-skipped", "warn", message)
        message = f"now {how} ({why}); it ran in the accepted runs"
        return _finding(test, "newly-skipped", "fail", message, remedy="remove the skip or xfail")
    if before.failed and not test.silent and test.nodeid not in expected.entries:
        return _finding(test, "fixed", "info", "failed in the accepted runs, passes now")
    return None


def _flaky(test: TestOutcome, level: Level) -> Finding:
    """A test that needed a retry: what it would have said without is chance."""
    when = f"in attempt {test.attempts}" if test.attempts else "when it was run again"
    if test.silent:
        message = f"failed before it was skipped {when}"
    else:
        message = f"passed only {when}" + (f"; before: {test.reason}" if test.reason else "")
    return _finding(test, "flaky", level, message, remedy="fix the cause; retrying hides it")


def _failed(test: TestOutcome, before: KnownTest | None, expected: Expected, *, ask: bool) -> Finding:
    """A failure is known if the policy permits it or the baseline fails in the same way."""
    message = test.failure.message if test.failure else "failed without a message"
    if test.attempts != 1:
        message = f"failed in each of {test.attempts or 'its'} attempts: {message}"
    signature = test.failure.signature if test.failure else ""
    entry = expected.entries.get(test.nodeid)
    if entry and expected.permits(test):
        return _finding(test, "known-failure", "info", f"permitted {entry.described}: {message}")
    permission = before.permitted if before and before.signature == signature else None
    current = permission is not None and expected.is_current(permission)
    if permission and current and not ask:
        return _finding(test, "known-failure", "info", f"{_accepted(permission)}: {message}")
    if entry:
        other = f"{message} (thresholds.yaml permits the failure {entry.signature}; this one is {signature})"
        return _finding(test, "changed-failure", "fail", other)
    if before is None or not before.failed:
        return _finding(test, "new-failure", "fail", message)
    if before.signature == signature:
        why = "the last accepted run failed in the same way, but nobody accepted that it may"
        if permission and current:
            why = f"{_accepted(permission)}, but in a run that is older than the base"
        elif permission:
            why = f"{permission.by} accepted it until {permission.until}"
        return _finding(test, "new-failure", "fail", f"{message} ({why})")
    was = before.signature.split(" | ", 2)[-1]
    return _finding(
        test, "changed-failure", "fail", f"{message} (in the accepted runs it failed with: {was})"
    )


def _accepted(permission: Permission) -> str:
    until = f" until {permission.until}" if permission.until else ""
    return f"accepted by {permission.by}{until} ({permission.why})"


def _passed(known: KnownTest | None) -> bool:
    return known is not None and known.outcome == "passed"


def _after_rerun(
    found: Finding,
    rerun: Rerun,
    flaky: Level,
    *,
    excuse: bool,
    shared: Sequence[Difference],
    passed: bool,
) -> Finding:
    """A failure after its test was run again: sometimes is flaky, in the same way on the base is known.

    Args:
        found: the failure.
        rerun: what happened.
        flaky: what a test means that fails only sometimes.
        excuse: whether the base may excuse it.
        shared: what keeps the base from being another version.
        passed: the accepted runs know the test as passing.
    """
    if rerun.unclear:
        return msgspec.structs.replace(
            found,
            message=f"{found.message} ({rerun.unclear})",
            remedy=MORE_TIME,
        )
    (failed, runs), (base_failed, base_runs) = rerun.head, rerun.base
    on_base = "not run on the base (out of time)" if rerun.late else "not run on the base"
    if base_runs:
        on_base = f"{base_failed} of {base_runs} on the base"
    how = "" if rerun.alone else ", only together with the other tests"
    message = f"failed in {failed} of {runs} runs of the head, {on_base}{how}: {found.message}"
    if rerun.flaky and not (shared and base_runs):
        return msgspec.structs.replace(found, kind="flaky", level=flaky, message=message)
    if not excuse:
        return msgspec.structs.replace(
            found, message=f"failed in {failed} of {runs} runs{how}: {found.message}"
        )
    asked = msgspec.structs.replace(found, message=message)
    if shared and base_runs:
        return msgspec.structs.replace(asked, message=f"{message} ({said(shared)})")
    return _by_the_base(asked, rerun, passed=passed)


def _by_the_base(found: Finding, rerun: Rerun, *, passed: bool) -> Finding:
    """A failure that the base has as well is known; if accepted runs passed, something else has changed."""
    if rerun.known and passed:
        message = f"fails on the base too, but passed in the last accepted run: {found.message}"
        return msgspec.structs.replace(found, kind="known-failure", level="warn", message=message)
    if rerun.known:
        return msgspec.structs.replace(found, kind="known-failure", level="info")
    if rerun.changed:
        message = f"{found.message} (it fails differently on the base)"
        return msgspec.structs.replace(found, kind="changed-failure", message=message)
    return found


def _finding(test: TestOutcome, kind: Kind, level: Level, message: str, remedy: str = "") -> Finding:
    return Finding(
        kind=kind,
        level=level,
        subject=test.nodeid,
        suite=test.suite,
        message=message,
        nodeids=(test.nodeid,),
        reproduce=pytest_command((test.nodeid,)) if test.failed else "",
        remedy=remedy,
        where=test.failure.where if test.failure else "",
    )


def _missing(suite: str, nodeid: str, renamed: str) -> Finding:
    probably = f"; it was probably renamed to {renamed}" if renamed else ""
    return Finding(
        kind="missing-test",
        level="fail",
        subject=nodeid,
        suite=suite,
        message=f"is in the accepted runs, but not in this run{probably}",
        nodeids=(nodeid,),
        remedy="restore it",
    )
