"""Where the memory is older than the base, the base itself is asked what of a finding is its own already."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

from gate.confirm.rerun import run_side
from gate.confirm.sides import Side
from gate.model import Metric, Run, SuiteRun, subject_of
from gate.nodeids import above
from gate.policy import Policy
from gate.units import UnitError, convert
from gate.verdict import Finding

_START: Final = 5.0
"""Seconds that a suite may take on the base beside what it took in the run."""


def in_question(findings: Sequence[Finding], run: Run, behind: Collection[str]) -> list[Finding]:
    """What a memory older than the base calls lost or raised: tests, metrics, work counts."""
    exact = {metric.name for metric in run.metrics.values() if metric.exact}
    return [
        finding
        for finding in findings
        if finding.level == "fail"
        and finding.suite in behind
        and (
            finding.kind in {"missing-test", "missing-metric", "newly-skipped"}
            or (finding.kind == "regression" and finding.subject in exact)
        )
    ]


def ask_base(
    base: Side,
    asked: Sequence[Finding],
    run: Run,
    policy: Policy,
    seconds: float,
    *,
    listen: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """Run the suites of some findings on the base, each once and whole: a count may depend on other tests.

    Args:
        base: the side.
        asked: the findings.
        run: the run of the head, in the units that the baseline knows.
        policy: has the commands of the suites.
        seconds: what may be used; a suite that takes longer is not run.
        listen: called with a line before each suite.

    Returns:
        What the base gives, by the findings' subjects, in the unit of the head; None where it has, or runs,
        no such thing; what it has and nobody can compare is left out. And the suites that were not run.
    """
    found: dict[str, float | None] = {}
    not_run: list[str] = []
    end = time.monotonic() + seconds
    for suite in sorted({finding.suite for finding in asked} & policy.suites.keys()):
        left = end - time.monotonic()
        ran = None
        if run.seconds.get(suite, 0.0) + _START < left:
            listen(f"confirm: the accepted runs are older than the base, so all of {suite} is run on it")
            ran = run_side(base, policy.suites[suite], (), policy, number=0, seconds=left)
        if ran is None:
            not_run.append(suite)
            continue
        for finding in asked:
            if finding.suite == suite:
                found |= _answer(finding, ran, run.metrics)
    return found, tuple(not_run)


def _answer(finding: Finding, base: SuiteRun, head: Mapping[str, Metric]) -> dict[str, float | None]:
    name = finding.subject
    if finding.kind in {"missing-test", "newly-skipped"}:
        test = base.tests.get(name)
        lost = not any(place in base.tests and base.tests[place].failed for place in above(name))
        absent = test is None and lost  # else it could not be collected
        skipped = test is not None and test.silent and finding.kind == "newly-skipped"
        return {name: None} if absent or skipped else {}
    if finding.kind == "missing-metric":
        tests = [base.tests.get(nodeid) for nodeid in finding.nodeids]
        ran = all(test and not test.failed and not test.silent for test in tests)
        return {} if not ran or any(name in {m, subject_of(m)} for m in base.metrics) else {name: None}
    with suppress(KeyError, UnitError):
        there, here = base.metrics[name], head[name]
        return {name: convert(there.value, there.unit, here.unit)}
    return {}
