"""`gate baseline update` and `accept`: a run becomes part of the memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gate.baseline import Baseline, SuiteBaseline, accept, without
from gate.cli.pushing import BY, REASON, Message, Permission, Target, permission_of, push, pushing
from gate.cli.shared import (
    BASELINE,
    REPORT_FILES,
    REPORTS,
    baseline_directory,
    common,
    complain,
    complain_of,
    console_for,
    head_of,
    say,
    write_file,
)
from gate.model import Run, SuiteRun
from gate.policy import Policy
from gate.report.words import as_one, gathered
from gate.verdict import EXIT_CODES, KINDS

if TYPE_CHECKING:
    from gate.verdict import Finding, Verdict


_OPTIONS: Final = (
    REPORT_FILES,
    BASELINE,
    click.option("--commit", metavar="SHA",
                 help="The commit that was measured (default: as the report says)."),
    click.option("--run", "source", default="", metavar="ID",
                 help="Which run of a workflow measured it; another attempt of it is replaced."),
    pushing,
    common,
)  # fmt: skip


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """What both commands know: which run it is, and where it goes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.option("--verdict", "verdict_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE", help="Accept only what gate check passed; record what was waived.")  # fmt: skip
@_with_options
def update(verdict_file: Path | None, **where: Any) -> None:  # noqa: ANN401 - the options above
    """Accept a run: add it to the baseline of its environment. The same run twice changes nothing.

    A run with more work, new failures or fewer tests than before is refused: see gate baseline accept. Known
    failures that passed in the last three accepted runs leave thresholds.yaml.
    """
    _add_run(_passed(verdict_file) if verdict_file else None, None, **where)


@click.command("accept")
@REASON
@BY
@_with_options
def accept_run(reason: str, by: str | None, **where: Any) -> None:  # noqa: ANN401 - the options above
    """Accept a run although something got worse, with a reason. What got worse begins a new level."""
    _add_run(None, permission_of(reason, by, where["thresholds"]), **where)


def _add_run(
    verdict: Verdict | None,
    permission: Permission | None,
    *,
    reports: tuple[Path, ...],
    baseline: Path | None,
    commit: str | None,
    source: str,
    branch: str | None,
    by_pull: bool,
    remote: str,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    from gate.pipeline.load import load_policy
    from gate.pipeline.read import read_reports

    policy = load_policy(thresholds)
    directory = baseline_directory(baseline, thresholds, policy, writes=not branch)
    run = read_reports(reports or (REPORTS,), policy, thresholds.resolve().parent, head=commit)
    _refuse_unusable(run, policy)
    if verdict:
        _refuse_others(run, verdict)
    accepted = [
        _Accepted(
            suite,
            _measured(suite, commit, thresholds),
            policy,
            permission,
            _said(verdict, suite) if verdict else None,
        )
        for suite in run.suites.values()
    ]
    ratchet = _Ratchet(run, _flaky(verdict) if verdict else frozenset(), thresholds)
    console = console_for(no_color)
    try:
        if branch:
            target = Target(directory, policy.baseline_branch or branch, remote, thresholds)
            lines = _push(accepted, target, source, ratchet, by_pull=by_pull)
        else:
            lines = _keep(accepted, directory, source, ratchet)
    except _WorseError as error:
        complain_of(as_one(group) for group in gathered(error.findings))
        complain("nothing was accepted; if it has to be so: gate baseline accept --reason TEXT")
        sys.exit(EXIT_CODES["failed"])
    for line in () if quiet else lines:
        say(line, console)


def _keep(accepted: list[_Accepted], directory: Path, source: str, ratchet: _Ratchet) -> list[str]:
    """Write accepted runs to the work tree; what is to be said of it."""
    from gate.store import read_baseline, write_suite

    known = read_baseline(directory)
    updated = tuple(one.added_to(known, source) for one in accepted)
    lines = [
        f"{one.line(suite)} in {write_suite(directory, suite)}"
        for one, suite in zip(accepted, updated, strict=True)
    ]
    rules, notes = ratchet.turned(ratchet.thresholds.read_bytes(), known.replaced(updated))
    if rules is not None:
        write_file(ratchet.thresholds, rules)
    return [*lines, *notes]


@dataclass(frozen=True)
class _Passed:
    """What a verdict that passed says of a suite."""

    waived: tuple[str, ...] = ()
    improved: tuple[str, ...] = ()
    unjudged: frozenset[str] = frozenset()
    """Tests of which the metrics were let pass though nobody could judge them (nodeids)."""


class _WorseError(Exception):
    """A run that is worse than what is remembered, and nobody said why."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__()
        self.findings = findings


@dataclass(frozen=True)
class _Ratchet:
    """What an accepted run removes from the rules."""

    run: Run
    flaky: frozenset[str]
    thresholds: Path

    def turned(self, text: bytes | None, known: Baseline) -> tuple[bytes | None, tuple[str, ...]]:
        """thresholds.yaml without mended known failures, None if nothing changes; and what to say.

        Args:
            text: the file; None: the branch of the baseline does not hold it.
            known: what is remembered with the accepted run.
        """
        from gate.located import LocatedError
        from gate.ratchet import mended, without_entries
        from gate.thresholds import parse_policy

        rules = self.thresholds.read_bytes() if text is None else text
        try:
            policy = parse_policy(rules.decode("utf-8-sig"))
        except (LocatedError, UnicodeDecodeError):
            return None, (f"{self.thresholds.name} of the branch cannot be read: nothing leaves it",)
        over = mended(policy, self.run, known, self.flaky)
        if text is None:
            return None, tuple(f"mended, remove it from {self.thresholds.name}: {name}" for name in over)
        left = without_entries(rules.decode(), over).encode() if over else None
        return left, tuple(f"mended, removed from {self.thresholds.name}: {name}" for name in over)


@dataclass(frozen=True)
class _Accepted:
    """One suite of a run that is accepted."""

    suite: SuiteRun
    commit: str
    policy: Policy
    permission: Permission | None
    passed: _Passed | None
    """What a verdict says of it; None: it is judged here, by history alone."""

    def added_to(self, known: Baseline, source: str) -> SuiteBaseline:
        """What is remembered of the suite with this run.

        Raises:
            _WorseError: it is worse than what is remembered, and nobody permitted that.
        """
        passed = self.passed or self._judged(known)
        before = known.measured_on(self.suite.name, self.suite.environment)
        return accept(
            before,
            self.suite,
            self.commit,
            waived=passed.waived,
            improved=passed.improved,
            unjudged=passed.unjudged,
            source=source,
        )

    def _judged(self, known: Baseline) -> _Passed:
        from gate.pipeline.check import by_history

        earlier = without(known, self.suite, self.commit)
        if earlier != known and self.permission is None:
            return _Passed()  # somebody accepted it already; what was noted of it stays
        findings = by_history(Run({self.suite.name: self.suite}), earlier, self.policy).findings
        first = earlier.latest(self.suite.name) is None
        worse = [] if first else [f for f in findings if KINDS[f.kind].refused and f.level == "fail"]
        improved = tuple(sorted(f.subject for f in findings if f.kind == "improvement"))
        if self.permission is None:
            if certain := [f for f in worse if f.kind != "regression" or f.state == "confirmed"]:
                raise _WorseError(certain)
            return _Passed((), improved)
        tests = sum(KINDS[f.kind].of_test for f in worse)
        subjects = [f.subject for f in worse if not KINDS[f.kind].of_test]
        subjects += [f"{tests} test{'s' * (tests != 1)}"] if tests else []
        subjects = subjects or ["run"]
        return _Passed(
            tuple(f"{s}: {self.permission.by}: {self.permission.reason}" for s in subjects), improved
        )

    def line(self, updated: SuiteBaseline) -> str:
        """What is said of it."""
        failed = sum(test.failed for test in self.suite.tests.values())
        tail = f", {failed} known failure{'s' * (failed != 1)}" if failed else ""
        what = f"{self.suite.name}: accepted {self.commit[:12]}"
        return f"{what} on {self.figures}{tail}; {len(updated.runs)} run{'s' * (len(updated.runs) != 1)}"

    @property
    def permitted(self) -> list[str]:
        """Why it was accepted although something got worse."""
        waived = [f"waived: {text}" for text in self.passed.waived] if self.passed else []
        return [
            *waived,
            *([f"accepted by {self.permission.by}: {self.permission.reason}"] if self.permission else []),
        ]

    @property
    def figures(self) -> str:
        """Environment and amounts."""
        suite = self.suite
        return f"{suite.environment.id}: {len(suite.metrics)} metrics, {len(suite.tests)} tests"


def _refuse_unusable(run: Run, policy: Policy) -> None:
    """End the command if a run is damaged or measured nothing."""
    from gate.judge.loads import judge_loads

    complain_of(run.problems)
    invalid = [
        f for suite in run.suites.values() for f in judge_loads(suite, policy).findings if f.level == "fail"
    ]
    complain_of(() if run.problems else invalid)
    if run.problems or invalid:
        complain("nothing was accepted")
        sys.exit(EXIT_CODES["error" if run.problems else "inconclusive"])


def _refuse_others(run: Run, verdict: Verdict) -> None:
    """End the command if a verdict is about something else."""
    judged, head = {suite.name for suite in verdict.suites}, verdict.head.commit
    for suite in run.suites.values():
        other = ""
        if suite.name not in judged:
            other = f"the verdict does not judge suite {suite.name!r}"
        elif suite.commit and head and suite.commit != head:
            other = f"{suite.source} measured {suite.commit[:12]}, the verdict judges {head[:12]}"
        if other:
            complain(f"{other}: nothing was accepted")
            sys.exit(EXIT_CODES["error"])


def _measured(suite: SuiteRun, commit: str | None, thresholds: Path) -> str:
    measured = commit or suite.commit or head_of(thresholds)
    if not measured:
        raise click.UsageError(f"{suite.source} does not say which commit it measured; add --commit SHA")
    return measured


def _push(
    accepted: list[_Accepted], target: Target, source: str, ratchet: _Ratchet, *, by_pull: bool
) -> list[str]:
    """Push accepted runs; what is to be said of it."""
    from gate.publish import Update

    commits = ", ".join(dict.fromkeys(one.commit[:12] for one in accepted))
    figures = "\n".join("\n".join((f"{one.suite.name} on {one.figures}", *one.permitted)) for one in accepted)

    def add(known: Baseline, rules: bytes | None) -> Update:
        suites = tuple(one.added_to(known, source) for one in accepted)
        return Update(suites, *ratchet.turned(rules, known.replaced(suites)))

    done, said = push(
        target, Message(f"chore(baseline): accept {commits}", figures, [one.commit for one in accepted]), add,
        by_pull=by_pull,
    )  # fmt: skip
    lines = [one.line(updated) for one, updated in zip(accepted, done.update.suites, strict=True)]
    return [*lines, *done.update.notes, said]


def _passed(file: Path) -> Verdict:
    """A verdict that passed; one that did not ends the command."""
    from gate.verdict import read_verdict

    try:
        verdict = read_verdict(file.read_bytes())
    except ValueError as error:
        raise click.UsageError(f"--verdict {file}: {error}") from None
    if verdict.verdict != "passed":
        complain(f"the verdict is {verdict.verdict}: nothing was accepted")
        sys.exit(verdict.exit_code)
    return verdict


def _flaky(verdict: Verdict) -> frozenset[str]:
    """Tests that failed now and then."""
    return frozenset(nodeid for f in verdict.findings if f.kind == "flaky" for nodeid in f.nodeids)


def _said(verdict: Verdict, suite: SuiteRun) -> _Passed:
    """What a verdict that passed says of a suite.

    Where somebody permitted that base and head are not told apart, nothing was judged: that begins no level,
    and no value of it is kept.
    """
    waived = [one for one in verdict.findings if one.state == "waived"]
    shared = [one.subject for one in waived if one.kind == "unaccounted"]
    account = verdict.account
    unjudged = account.resting_on(shared) & suite.tests.keys() if account else frozenset[str]()

    def is_noted(finding: Finding) -> bool:
        rests_on_it = not unjudged.isdisjoint(finding.nodeids)
        if finding.kind == "unaccounted":
            return rests_on_it
        return finding.suite == suite.name and not (finding.shared and rests_on_it)

    improved = (f.subject for f in verdict.findings if f.kind == "improvement" and f.suite == suite.name)
    return _Passed(
        tuple(f"{f.subject}: {f.message.rpartition('; waived by ')[2]}" for f in waived if is_noted(f)),
        tuple(sorted(improved)),
        unjudged,
    )
