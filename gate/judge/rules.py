"""Entries of thresholds.yaml that may not mean what their author thinks. Pure."""

import difflib
from collections.abc import Collection, Iterator
from itertools import combinations

from gate.baseline import Baseline
from gate.model import Run
from gate.policy import LIMITS, Entry, Policy
from gate.verdict import Finding


def judge_rules(run: Run, policy: Policy, baseline: Baseline) -> list[Finding]:
    """Entries that match nothing, and those of which only their order decides.

    Args:
        run: a whole run: all suites of the policy, and no report that could not be read.
        policy: the entries.
        baseline: says what tests measured that did not do so this time.
    """
    overall = [known for suite in run.suites if (known := baseline.latest(suite))]
    names = list(dict.fromkeys([*run.metrics, *(name for known in overall for name in known.metrics)]))
    passing = {nodeid for known in overall for nodeid, test in known.tests.items() if not test.failed}
    unsure = any(
        (test.failed or test.silent) and test.nodeid not in passing
        for suite in run.suites.values()
        for test in suite.tests.values()
    )
    return [*_matching_nothing(policy, names, unsure=unsure), *_equals(policy, names)]


def _matching_nothing(policy: Policy, names: Collection[str], *, unsure: bool) -> Iterator[Finding]:
    """An exact name with a limit is a promise, and fails; the rest may be meant for later.

    Where a test failed or was skipped that never passed, the metric may be its.
    """
    for entry in policy.entries:
        if any(entry.matches(name) for name in names):
            continue
        promise = bool(entry.values.keys() & set(LIMITS))
        what = "a limit" if promise else " and ".join(sorted(entry.values))
        near = difflib.get_close_matches(entry.pattern, names, n=3)
        meant = f"; it may mean {', '.join(near)}" if near else ""
        yield Finding(
            kind="missing-metric" if promise else "rule",
            level="fail" if promise and not unsure and "*" not in entry.pattern else "warn",
            subject=entry.pattern,
            message=f"thresholds.yaml line {entry.place.line} sets {what}, but no suite measures it{meant}",
            rule=f"metrics[{entry.pattern}]",
            remedy="correct the name, or measure it",
        )


def _equals(policy: Policy, names: Collection[str]) -> Iterator[Finding]:
    """Pairs of entries that are as specific, about one metric, and say different things of it."""
    for first, second in combinations(policy.entries, 2):
        if first.specificity != second.specificity or _apart(first, second):
            continue
        keys = [key for key in first.values if second.values.get(key, first.values[key]) != first.values[key]]
        both = keys and next((name for name in names if first.matches(name) and second.matches(name)), None)
        if both:
            yield Finding(
                kind="rule",
                level="warn",
                subject=second.pattern,
                message=f"thresholds.yaml lines {first.place.line} and {second.place.line} name {both} "
                f"equally precisely and differ in {' and '.join(keys)}; the later line decides",
                rule=f"metrics[{second.pattern}]",
                remedy="name one of them more precisely, or remove it",
            )


def _apart(first: Entry, second: Entry) -> bool:
    """Whether two exact names are of different metrics."""
    return first.specificity.exact and first.pattern.partition("{")[0] != second.pattern.partition("{")[0]
