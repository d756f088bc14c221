"""Tests of a run against what the last accepted run says of them."""

import shlex
from collections.abc import Mapping

from gate.baseline import KnownTest, SuiteBaseline
from gate.model import SuiteRun, TestOutcome
from gate.verdict import Finding, Kind, Level

_ACCEPT = "or accept the change with gate baseline update"


def judge_outcomes(suite: SuiteRun, known: SuiteBaseline | None) -> list[Finding]:
    """Judge every test of a suite, and every test that is no longer there.

    Without an accepted run every failure is new, and nothing can be missing.
    """
    before: Mapping[str, KnownTest] = known.tests if known else {}
    findings = [
        _judge(test, before.get(test.nodeid), first_run=known is None) for test in suite.tests.values()
    ]
    missing = [_missing(suite.name, nodeid) for nodeid in before if nodeid not in suite.tests]
    return [finding for finding in findings if finding is not None] + missing


def _judge(test: TestOutcome, before: KnownTest | None, *, first_run: bool) -> Finding | None:
    if test.failed:
        return _failed(test, before)
    if before is None:
        message = f"new, {test.outcome}" + (f": {test.reason}" if test.reason else "")
        return None if first_run else _finding(test, "new-test", "info", message)
    if test.silent and before.outcome not in {"skipped", "xfailed"}:
        how = "expected to fail" if test.outcome == "xfailed" else "skipped"
        message = f"ran on the baseline and is now {how}: {test.reason or 'no reason given'}"
        return _finding(test, "newly-skipped", "fail", message, remedy=f"let it run again, {_ACCEPT}")
    if before.failed and not test.silent:
        return _finding(test, "fixed", "info", "failed on the baseline, passes now")
    return None


def _failed(test: TestOutcome, before: KnownTest | None) -> Finding:
    message = test.failure.message if test.failure else "failed without a message"
    signature = test.failure.signature if test.failure else ""
    if before is None or not before.failed:
        return _finding(test, "new-failure", "fail", message)
    if before.signature != signature:
        was = before.signature.split(" | ", 2)[-1]
        return _finding(test, "changed-failure", "fail", f"{message} (on the baseline it failed with: {was})")
    return _finding(test, "known-failure", "info", f"fails on the baseline too: {message}")


def _finding(test: TestOutcome, kind: Kind, level: Level, message: str, remedy: str = "") -> Finding:
    return Finding(
        kind=kind,
        level=level,
        subject=test.nodeid,
        suite=test.suite,
        message=message,
        nodeids=(test.nodeid,),
        reproduce=f"pytest {shlex.quote(test.nodeid)}" if test.failed else "",
        remedy=remedy,
        where=test.failure.where if test.failure else "",
    )


def _missing(suite: str, nodeid: str) -> Finding:
    return Finding(
        kind="missing-test",
        level="fail",
        subject=nodeid,
        suite=suite,
        message="is in the baseline and did not run",
        nodeids=(nodeid,),
        remedy=f"bring it back, {_ACCEPT}",
    )
