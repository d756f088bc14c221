"""Where something may be red because the accepted runs are older than the base, the base is run itself."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from gate.confirm.rerun import run_side
from gate.confirm.sides import Side
from gate.model import Run, SuiteRun
from gate.policy import Policy
from gate.verdict import Finding

_START: Final = 5.0
"""Seconds that a suite may take on the base beside what it took in the run."""


def in_question(findings: Iterable[Finding], run: Run, policy: Policy, behind: Collection[str]) -> list[str]:
    """Suites that are red for what they lost or raised, compared with a memory older than the base.

    Of a suite in shards nobody knows here what it lost.

    Args:
        findings: what that memory says.
        run: the run of the head.
        policy: the suites.
        behind: suites whose accepted runs are older than the base.
    """
    whole = {
        name
        for name, suite in run.suites.items()
        if name in behind and name in policy.suites and not suite.shard and not policy.suites[name].shards
    }
    exact = {metric.name for metric in run.metrics.values() if metric.exact}
    lost = {"missing-test", "missing-metric", "newly-skipped"}
    return sorted(
        {
            finding.suite
            for finding in findings
            if finding.level == "fail"
            and finding.suite in whole
            and (finding.kind in lost or (finding.kind == "regression" and finding.subject in exact))
        }
    )


def run_base(
    base: Side,
    suites: Sequence[str],
    took: Mapping[str, float],
    policy: Policy,
    seconds: float,
    *,
    listen: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, SuiteRun], tuple[str, ...]]:
    """Run suites on the base, each once and whole: a count may depend on the tests before it.

    Args:
        base: the side.
        suites: which.
        took: seconds that they took on the head.
        policy: has their commands.
        seconds: what may be used.
        listen: called with a line before each suite.

    Returns:
        What they gave, by suite, and why others gave nothing.
    """
    found: dict[str, SuiteRun] = {}
    notes: list[str] = []
    end = time.monotonic() + seconds
    for suite in suites:
        left = end - time.monotonic()
        reason = "there is no time for it within the budget"
        if took.get(suite, 0.0) + _START < left:
            listen(f"confirm: the accepted runs are older than the base, so all of {suite} is run on it")
            ran = run_side(base, policy.suites[suite], (), policy, number=0, seconds=left)
            if ran:
                found[suite] = msgspec.structs.replace(ran, executed={}, loads={})
                continue
            reason = "it left no report"
        notes.append(
            f"the accepted runs of suite {suite!r} are older than the base; a run of the base would tell "
            f"what is its own, but {reason}"
        )
    return found, tuple(notes)
