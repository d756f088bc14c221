"""Entries of `known_failures` against a run: which end soon, which are over, which pass by now. Pure."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from gate.baseline import Baseline, Permission
from gate.model import Run, TestOutcome
from gate.moves import signature_in
from gate.nodeids import file_of, pytest_command
from gate.policy import KnownFailure, Policy
from gate.ratchet import PASSES
from gate.verdict import Finding, Level

WARNED: Final = 14
"""Days before the end of an entry from which on everybody is told."""
GRACE: Final = 14
"""Days that an entry may stay after the first accepted run in which its tests passed."""
_SHOWN: Final = 5


@dataclass(frozen=True)
class Expected:
    """The entries of the policy that are about tests of a run."""

    entries: Mapping[str, KnownFailure]
    """By nodeid."""
    moved: Mapping[str, str]
    """The name at the base of tests that go by another one, by nodeid."""
    day: str = ""
    """Of the run, ISO 8601."""

    def is_current(self, permission: Permission) -> bool:
        """Whether a permission has not run out on the day of the run."""
        return not permission.until or self.day <= permission.until

    def permits(self, test: TestOutcome) -> bool:
        """Whether a test fails as an entry says."""
        entry = self.entries.get(test.nodeid)
        return entry is not None and entry.permits(self._signature(test))

    def _signature(self, test: TestOutcome) -> str:
        """How it fails, with the file that it had at the base, which the entry was written for."""
        signature = test.failure.signature if test.failure else ""
        return signature_in(signature, test.nodeid, self.moved.get(test.nodeid, test.nodeid))


def expected_of(run: Run, policy: Policy, moved: Mapping[str, str]) -> Expected:
    """Find the entry of each test of a run; a moved test goes by its name at the base."""
    nodeids = {nodeid for suite in run.suites.values() for nodeid in suite.tests}
    found = {
        nodeid: policy.known_failure(moved.get(nodeid, nodeid)) or policy.known_failure(nodeid)
        for nodeid in sorted(nodeids)
    }
    day = _day(run).isoformat() if run.suites else ""
    return Expected({nodeid: entry for nodeid, entry in found.items() if entry}, moved, day)


def judge_known_failures(
    run: Run,
    baseline: Baseline,
    policy: Policy,
    expected: Expected,
    *,
    touched: Collection[str] = (),
    scheduled: bool = False,
    proposed: Policy | None = None,
) -> list[Finding]:
    """One finding for each entry that somebody should look at.

    What is over is red only for who can be expected to mend it: a change that touches the test's file or its
    owner's, and the scheduled run. Everybody else is told. The day is that of the run, not that of a clock.

    Args:
        run: what became of the tests.
        baseline: says since when tests pass.
        policy: has the entries.
        expected: which entry is about which test.
        touched: files that the change touches, relative to the directory of thresholds.yaml.
        proposed: the rules as the change leaves them; None: it leaves them alone.
        scheduled: nobody's change is judged, but the state of the branch.
    """
    findings: list[Finding] = []
    whole = not run.problems and policy.suites.keys() <= run.suites.keys()
    covered: dict[str, list[TestOutcome]] = defaultdict(list)
    for suite in run.suites.values():
        for test in suite.tests.values():
            if entry := expected.entries.get(test.nodeid):
                covered[entry.pattern].append(test)
    for entry in policy.known_failures:
        tests = covered[entry.pattern]
        files = {file_of(name) for t in tests for name in (t.nodeid, expected.moved.get(t.nodeid, t.nodeid))}
        answers = scheduled or entry.concerns(touched) or any(_is_one_of(name, files) for name in touched)
        over: Level = "fail" if answers else "warn"
        failing = [test for test in tests if test.failed]
        known = [test for test in failing if expected.permits(test)]
        passing = [test for test in tests if not test.failed and not test.silent]
        if dropped := _left_without(entry, known, proposed):
            findings.append(_dropped(entry, dropped))
        elif known:
            findings += _end(entry, known, _day(run), over)
        elif passing and not failing:
            findings.append(_passing(entry, passing, baseline, _day(run), over))
        elif whole and not tests:
            message = f"line {entry.place.line} of thresholds.yaml matches no test of the run"
            remedy = "remove the entry, or correct the name"
            findings.append(_finding(entry, (), "warn", message, remedy))
    return findings


def _left_without(
    entry: KnownFailure, known: Sequence[TestOutcome], proposed: Policy | None
) -> list[TestOutcome]:
    """Failing tests of an entry that a change removes, and that no other one permits by their new names."""
    if proposed is None or any(other.pattern == entry.pattern for other in proposed.known_failures):
        return []
    others = ((test, proposed.known_failure(test.nodeid)) for test in known)
    return [
        t for t, other in others if not other or not other.permits(t.failure.signature if t.failure else "")
    ]


def is_of(touched: Collection[str], nodeid: str) -> bool:
    """Whether a test's file is among changed ones."""
    return any(_is_one_of(name, {file_of(nodeid)}) for name in touched)


def _is_one_of(touched: str, files: Collection[str]) -> bool:
    """Whether a changed file is one of some; pytest may have been run in a directory below."""
    return touched in files or any(touched.endswith(f"/{file}") for file in files)


def _end(entry: KnownFailure, known: Sequence[TestOutcome], day: date, over: Level) -> list[Finding]:
    left = (entry.until - day).days
    if left > WARNED:
        return []
    if left >= 0:
        days = f"{left} day{'s' * (left != 1)} left" if left else "this is the last day"
        message = f"permitted {entry.described}: {days}"
        return [_finding(entry, known, "warn", message, "fix it, or change the date in thresholds.yaml")]
    fails = "still fails" if len(known) == 1 else f"{len(known)} tests still fail"
    message = f"permitted {entry.described}; expired, and {fails}{_told(over)}"
    remedy = "fix the test, or change the date in thresholds.yaml in a separate change"
    return [_finding(entry, known, over, message, remedy)]


def _dropped(entry: KnownFailure, known: Sequence[TestOutcome]) -> Finding:
    fails = "it still fails" if len(known) == 1 else f"{len(known)} tests of it still fail"
    message = f"this change removes the entry from known_failures, and {fails}"
    return _finding(entry, known, "fail", message, "fix the test, or keep the entry")


def _passing(
    entry: KnownFailure, passing: Sequence[TestOutcome], baseline: Baseline, day: date, over: Level
) -> Finding:
    passes = [baseline.passes(test.suite, test.nodeid) for test in passing]
    number = min(map(len, passes))
    since = max(found[0] for found in passes) if number else ""
    if since and (day - date.fromisoformat(since[:10])).days > GRACE:
        message = f"has passed since {since[:10]} and is still a known failure{_told(over)}"
        remedy = f"remove its entry, line {entry.place.line} of thresholds.yaml, in a separate change"
        return _finding(entry, passing, over, message, remedy, passes=True)
    if number < PASSES - 1:
        so_far = f"{PASSES} accepted runs in a row that pass ({number} so far)"
        message = f"passes; its known_failures entry is removed after {so_far}"
    else:
        message = "passes; the next baseline update removes its known_failures entry"
    return _finding(entry, passing, "info", message, passes=True)


def _told(level: Level) -> str:
    return (
        ""
        if level == "fail"
        else "; this fails only the scheduled run, and changes to its files or those of its owner"
    )


def _finding(
    entry: KnownFailure,
    tests: Sequence[TestOutcome],
    level: Level,
    message: str,
    remedy: str = "",
    *,
    passes: bool = False,
) -> Finding:
    nodeids = tuple(sorted({test.nodeid for test in tests}))
    return Finding(
        kind="fixed" if passes else "known-failure",
        level=level,
        subject=entry.pattern,
        suite=tests[0].suite if tests else "",
        message=message,
        nodeids=nodeids,
        rule=f"known_failures, line {entry.place.line}",
        remedy=remedy,
        reproduce=pytest_command(nodeids[:_SHOWN]) if nodeids and level == "fail" else "",
        where=next((test.failure.where for test in tests if test.failure), ""),
    )


def _day(run: Run) -> date:
    """When the run was made, UTC."""
    created = max(suite.created for suite in run.suites.values())
    return datetime.fromtimestamp(created, UTC).date()
