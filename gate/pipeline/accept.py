"""The one door to the memory: what of a run becomes expected, what is held back, what somebody permits."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from gate.baseline import Baseline, KnownMetric, Permission, SuiteBaseline
from gate.baseline.pruning import pruned
from gate.baseline.records import (
    Memory,
    Record,
    SuiteRecords,
    Where,
    hash_of,
    record_of,
    removed_before,
    united,
    without_removed,
)
from gate.git import GitError, resolve, tip_for, tree_of
from gate.judge import Inputs, judge
from gate.model import Run, SuiteRun
from gate.moves import Moved, followed
from gate.pipeline.align import align
from gate.pipeline.apart import Apart
from gate.pipeline.load import ancestry_at, expected_at, moves_of
from gate.policy import Policy
from gate.verdict import KINDS, Finding, Verdict
from gate.waivers import permission_for
from pytest_regression_gate.metrics import subject_of

_HELD: Final = frozenset({"flaky", "known-failure", "unaccounted"})
"""Kinds that no run is refused for, but that keep what they are about out of the memory."""


_LOST: Final = frozenset({"missing-test", "missing-metric", "newly-skipped"})
"""Kinds that are facts, whoever is to blame."""
_ALSO: Final = frozenset({"policy-change", "known-failure"})
"""Kinds that a permission can be about though they keep nothing out."""
_NAMED: Final = 5


@dataclass(frozen=True)
class Candidate:
    """A run that asks to be accepted."""

    run: Run
    commit: str
    """What it measured."""
    root: Path
    """The directory of thresholds.yaml."""
    policy: Policy
    verdict: Verdict | None = None
    """What says how good it is; None: history does, without measuring anything."""
    permission: Permission | None = None
    """Who lets in what got worse; its subject is of no account."""
    subjects: tuple[str, ...] = ()
    """What the permission is about; empty: all that got worse."""
    held: tuple[Finding, ...] = ()
    """What else is not let in."""
    limits: bool = True
    """Whether what breaks a limit is held back; not where runs are made to find out what limits to set."""
    source: str = ""
    attempt: int = 0
    inside: bool = True
    """Whether the memory lies in the tree, so that a history that lacks the run cannot read of it."""
    branch: str | None = None
    """The branch that it is accepted for, of `remote`."""
    remote: str = "origin"

    @property
    def where(self) -> Where:
        """What is stored of the commit."""
        try:
            full = resolve(self.root, self.commit)
            known = self.branch or self.inside
            onto = tip_for(self.root, full, self.branch, self.remote) if known else ""
            return Where(full, tree_of(self.root, full), onto)
        except GitError:
            return Where(self.commit)


@dataclass(frozen=True)
class Admitted:
    """What of a run is let in."""

    memory: Memory
    """All that is remembered with it."""
    permitted: tuple[Permission, ...]
    """What somebody let in."""
    held: tuple[Finding, ...]
    """What is not let in, and why."""
    added: Mapping[str, Record]
    """By suite what is new; a measurement that was accepted before is not."""
    flaky: frozenset[str]
    """Tests that failed now and then."""


def admit(candidate: Candidate, memory: Memory) -> Admitted:
    """Decide what of a run becomes part of the memory.

    Args:
        candidate: the run.
        memory: what is there.

    Raises:
        LocatedError: an entry's unit does not fit its metric.
        GitError: the history is too shallow to tell what is expected.
        RemovedBeforeError: a rebuild removed this run.
        NoSuchSubjectError: a subject of the permission names nothing that got worse.
    """
    where = candidate.where
    baseline = _expected_without(candidate, memory, where.commit)
    moved = moves_of(candidate.run, baseline, candidate.policy, candidate.root)
    apart = Apart.of(candidate.run, baseline, candidate.policy.suites)
    judged = apart.run(candidate.run)
    findings = [*candidate.held, *_findings(candidate, baseline, moved, apart, judged)]
    baseline = followed(baseline, moved)
    flaky = frozenset(nodeid for f in findings if f.kind == "flaky" for nodeid in f.nodeids)
    _refuse_unknown(candidate, findings)
    new: list[SuiteRecords] = []
    held: dict[Finding, None] = {}
    permitted: dict[Permission, None] = {}
    for suite in candidate.run.suites.values():
        own, plain = judged.suites[suite.name], apart.names(suite.name).plain
        about = [f for f in findings if f.suite == suite.name or not own.tests.keys().isdisjoint(f.nodeids)]
        earlier = _earlier(memory, suite)
        out = [
            f
            for f in about
            if _keeps_out(f, candidate)
            and not (_permits(candidate, f) or set(map(plain, subjects_of(f))) <= earlier)
        ]
        foreign = _never_here(baseline, memory, suite)
        permissions = (replace(p, subject=plain(p.subject)) for p in _permissions(candidate, about, own))
        waived = tuple(replace(one, alone=one.subject in foreign) for one in permissions)
        names = {plain(name) for f in out for name in subjects_of(f)}
        known = record_of(
            suite,
            where,
            held=names,
            waived=(*waived, *_lasting(baseline, suite, names | {one.subject for one in waived})),
            improved=tuple(sorted(plain(f.subject) for f in about if f.kind == "improvement")),
            flaky=frozenset(map(plain, flaky & own.tests.keys())),
            unjudged=frozenset(map(plain, _unjudged(candidate.verdict, own))),
            like=_unpermitted(baseline.latest(suite.name), waived),
            moved=moved.get(suite.name, {}),
            source=candidate.source,
            attempt=candidate.attempt,
        )
        if before := memory.of(suite.name, suite.environment):
            known = replace(known, environment=before.environment)
        held |= dict.fromkeys(out)
        permitted |= dict.fromkeys(waived)
        if not _is_known(known, memory):
            new.append(known)
    if gone := removed_before(memory, Memory(tuple(new))):
        raise RemovedBeforeError(f"this run of {gone.commit[:12]} was removed ({gone.reason})")
    after = without_removed(united([memory, Memory(tuple(new))]))
    after = pruned(after, ancestry_at(after, candidate.root, candidate.commit))
    added = {suite.suite: suite.records[0] for suite in new}
    return Admitted(after, tuple(permitted), tuple(held), added, flaky)


class RemovedBeforeError(ValueError):
    """A rebuild removed the run; what was removed never comes back."""


class NoSuchSubjectError(ValueError):
    """Nothing of that name got worse; what did, is in the message."""


def _refuse_unknown(candidate: Candidate, findings: Iterable[Finding]) -> None:
    worse = [f for f in findings if _keeps_out(f, candidate) or f.kind in _ALSO]
    for subject in candidate.subjects:
        found = [finding for finding in worse if _is_about(finding, subject)]
        if found and all(f.suite and f.suite not in candidate.run.suites for f in found):
            raise NoSuchSubjectError(f"{subject!r} is not part of this run; {found[0].remedy}")
        if not found:
            names = sorted({finding.subject for finding in worse})
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            there = ", ".join(map(repr, names[:_NAMED])) + more if names else "nothing"
            raise NoSuchSubjectError(f"{subject!r} matches nothing that got worse in this run ({there} did)")


def _expected_without(candidate: Candidate, memory: Memory, commit: str) -> Baseline:
    """What was expected before the run was accepted, whether it has been or not.

    What other machines say of the same commit is no past: it must not matter which of them ended first.
    """
    measured = {hash_of(suite) for suite in candidate.run.suites.values()}
    here = {suite.name: suite.environment for suite in candidate.run.suites.values()}
    before: list[SuiteRecords] = []
    for known in memory.suites:
        other = known.suite in here and here[known.suite].differences(known.environment)
        records = (
            r for r in known.records if r.report not in measured and not (other and r.commit == commit)
        )
        before.append(replace(known, records=tuple(records)))
    return expected_at(Memory(tuple(before)), candidate.root, candidate.commit)


def _findings(
    candidate: Candidate, baseline: Baseline, moved: Moved, apart: Apart, judged: Run
) -> tuple[Finding, ...]:
    """What is said of the run, `judged` in the names of verdicts: by its verdict, or else by history.

    A verdict about a change passes over what its base had lost already; nobody has accepted that.
    """
    inputs = Inputs(candidate.policy, baseline, of_branch=True, moved=moved)
    by_history = judge(*align(candidate.run, inputs, apart)).findings
    if candidate.verdict is None:
        return by_history
    told = {name for f in candidate.verdict.findings for name in (f.subject, *f.nodeids)}
    counts = {metric.name for metric in judged.metrics.values() if metric.exact}
    lost = [
        f
        for f in by_history
        if f.level == "fail"
        and f.subject not in told
        and (f.kind in _LOST or (f.kind == "regression" and f.subject in counts))
    ]
    return (*candidate.verdict.findings, *lost)


def _never_here(baseline: Baseline, memory: Memory, suite: SuiteRun) -> frozenset[str]:
    """Tests that are expected of a suite and that never ran in the environment of a run."""
    known, here = baseline.latest(suite.name), memory.of(suite.name, suite.environment)
    if known is None or here is None:
        return frozenset()
    ran = known.ran.get(here.environment.id, frozenset())
    return frozenset(known.tests.keys() - ran - suite.tests.keys())


def _lasting(baseline: Baseline, suite: SuiteRun, without: Collection[str]) -> Iterator[Permission]:
    """What was permitted before of tests that still fail in the same way."""
    known = baseline.latest(suite.name)
    for nodeid, test in suite.tests.items() if known else ():
        before = known.tests.get(nodeid) if known else None
        same = before and test.failure and test.failure.signature == before.signature
        if before and before.permitted and same and nodeid not in without:
            yield before.permitted


def _unpermitted(known: SuiteBaseline | None, waived: Collection[Permission]) -> Mapping[str, KnownMetric]:
    """Metrics of which nobody let in another direction or method."""
    names = {one.subject for one in waived}
    return {name: metric for name, metric in known.metrics.items() if name not in names} if known else {}


def _earlier(memory: Memory, suite: SuiteRun) -> set[str]:
    """What somebody permitted already when this measurement was accepted before."""
    known, measured = memory.of(suite.name, suite.environment), hash_of(suite)
    records = (one for one in known.read if one.report == measured) if known else ()
    return {permission.subject for one in records for permission in one.waived}


def subjects_of(finding: Finding) -> tuple[str, ...]:
    """The metrics or tests that a finding names."""
    if KINDS[finding.kind].of_test or not finding.subject:
        return finding.nodeids or (finding.subject,)
    return (finding.subject,)


def _keeps_out(finding: Finding, candidate: Candidate) -> bool:
    """Whether what a finding is about is not let in.

    Without a verdict a time that looks slow is: whoever leaves out the slow ones does not know the noise.
    """
    if finding.kind == "invalid-load":  # whatever excuses it, it was no measurement
        return True
    if finding.level != "fail":
        return False
    if finding.kind == "regression" and not (
        candidate.verdict or candidate.permission or finding in candidate.held
    ):
        return finding.state == "confirmed"
    if finding.kind == "limit":
        return candidate.limits
    return KINDS[finding.kind].refused or finding.kind in _HELD


def _permits(candidate: Candidate, finding: Finding) -> bool:
    """Whether the permission covers a finding: by its name, without the statistic, or all that got worse."""
    if candidate.permission is None or finding.kind == "invalid-load":
        return False
    return not candidate.subjects or any(_is_about(finding, one) for one in candidate.subjects)


def _is_about(finding: Finding, subject: str) -> bool:
    names = {finding.subject, *subjects_of(finding)}
    with suppress(ValueError):  # a test, or a name without a statistic
        names.add(subject_of(finding.subject))
    return subject in names


def _permissions(
    candidate: Candidate, findings: Collection[Finding], suite: SuiteRun
) -> Iterator[Permission]:
    """What goes into the record as permitted: by this command, or by the waivers of the verdict."""
    if given := candidate.permission:
        names_of_suite = suite.metrics.keys() | suite.tests.keys()
        also = _ALSO if candidate.subjects else {"policy-change"}
        more = [f for f in findings if f.kind in also and {f.subject, *f.nodeids} & names_of_suite]
        worse = [f for f in findings if _keeps_out(f, candidate)] + more
        worse = [f for f in worse if _permits(candidate, f)]
        names = dict.fromkeys(name for f in worse for name in subjects_of(f))
        for name in names or ([] if candidate.subjects else ["run"]):
            yield Permission(name, given.by, given.why, given.until)
        return
    unjudged = _unjudged(candidate.verdict, suite)
    for finding in findings:
        if finding.state != "waived":
            continue
        rests = not unjudged.isdisjoint(finding.nodeids)
        if (
            rests
            if finding.kind == "unaccounted"
            else finding.suite == suite.name and not (finding.shared and rests)
        ):
            waiver = permission_for(finding, candidate.verdict.waivers if candidate.verdict else ())
            if waiver:
                yield Permission(finding.subject, waiver.by, waiver.reason)


def _unjudged(verdict: Verdict | None, suite: SuiteRun) -> frozenset[str]:
    """Tests of which the metrics were let pass though nobody could judge them (nodeids)."""
    if verdict is None or verdict.account is None:
        return frozenset()
    shared = [f.subject for f in verdict.findings if f.state == "waived" and f.kind == "unaccounted"]
    return frozenset(verdict.account.resting_on(shared) & suite.tests.keys())


def _is_known(new: SuiteRecords, memory: Memory) -> bool:
    """Whether the same measurement let in as much already."""
    known = memory.of(new.suite, new.environment)
    (record,) = new.records
    return known is not None and any(
        one.report == record.report
        and one.commit == record.commit
        and set(one.held) <= set(record.held)
        and set(one.waived) >= set(record.waived)
        and set(one.improved) >= set(record.improved)
        for one in known.read
    )
