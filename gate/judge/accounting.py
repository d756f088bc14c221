"""What the base cannot testify about: a difference that both sides share, or that nobody saw."""

from collections.abc import Collection, Iterable, Iterator

from msgspec.structs import replace

from gate.accounts import Account, Difference
from gate.baseline import ENOUGH_RUNS, Baseline
from gate.model import Run
from gate.verdict import Finding, Level


def untouched_tests(run: Run, suites: Collection[str], account: Account) -> frozenset[str]:
    """Tests that surely reach nothing of what differs (nodeids).

    Args:
        run: the run.
        suites: those of which nothing differs at all.
        account: what was seen of the others.
    """
    known = {nodeid for name in suites if name in run.suites for nodeid in run.suites[name].tests}
    return frozenset(known | {nodeid for nodeid in account.tests if account.untouched(nodeid)})


def said(differences: Iterable[Difference]) -> str:
    """What both sides share, in few words; a finding of its own says why."""
    return f"base and head may share {', '.join(one.what for one in differences)}"


def with_causes(findings: Iterable[Finding], account: Account) -> list[Finding]:
    """Failing findings, with the distributions and variables that their tests use and the change edits."""
    named: list[Finding] = []
    for finding in findings:
        tests = finding.nodeids[:1] if finding.level == "fail" and finding.state != "inconclusive" else ()
        uses = [one.what for test in tests for one in account.seen(test, "distribution", "variable")]
        more = f"; it uses {', '.join(uses)}" if uses else ""
        named.append(replace(finding, message=f"{finding.message}{more}") if more else finding)
    return named


def judge_accounts(
    run: Run, account: Account, baseline: Baseline, findings: Iterable[Finding]
) -> list[Finding]:
    """One finding for each unaccounted difference that weakens the verdict.

    It is undecided where metrics have no history to be judged by. Elsewhere it is told once, beside the
    findings that it leaves red or undecided.

    Args:
        run: the run.
        account: what differs.
        baseline: the accepted runs.
        findings: what was found so far.
    """
    open_tests = {nodeid for f in findings if f.level == "fail" for nodeid in f.nodeids}
    found: list[Finding] = []
    for place, difference in enumerate(account.differences):
        if difference.state != "unaccounted":
            continue
        tests = {nodeid for nodeid, reached in account.tests.items() if place in reached.unaccounted}
        young = set(_without_history(run, baseline, tests))
        if young:
            metrics = f"{len(young)} metric{'s' * (len(young) != 1)}"
            message = f"{difference.why}. {metrics} not judged: fewer than {ENOUGH_RUNS} accepted runs"
            found.append(_finding(difference, "fail", message, tests))
        elif tests & open_tests:
            message = f"{difference.why}. Tests that use it cannot be compared with the base"
            found.append(_finding(difference, "warn", message, tests & open_tests))
    return found


def _without_history(run: Run, baseline: Baseline, tests: Collection[str]) -> Iterator[str]:
    for suite in run.suites.values():
        comparable = baseline.comparable(suite.name, suite.environment)
        if comparable is not None and len(comparable.runs) >= ENOUGH_RUNS:
            continue
        for metric in suite.metrics.values():
            if metric.nodeid in tests and not metric.exact:
                yield metric.name


def _finding(difference: Difference, level: Level, message: str, tests: Collection[str]) -> Finding:
    return Finding(
        kind="unaccounted",
        level=level,
        state="inconclusive" if level == "fail" else None,
        subject=difference.what,
        message=message,
        nodeids=tuple(sorted(tests)),
        remedy=difference.remedy,
    )
