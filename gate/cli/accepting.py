"""`gate baseline update` and `accept`: a run becomes part of the memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gate.baseline import Permission
from gate.cli.pushing import BY, REASON, UNTIL, Message, Target, permission_of, push, pushing
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
from gate.report.words import as_one, gathered
from gate.verdict import EXIT_CODES

if TYPE_CHECKING:
    from gate.baseline.records import Memory, SuiteRecords
    from gate.pipeline.accept import Admitted, Candidate
    from gate.verdict import Finding, Verdict


_FOR_A_WHILE: Final = timedelta(days=14)

_OPTIONS: Final = (
    REPORT_FILES,
    BASELINE,
    click.option("--commit", metavar="SHA",
                 help="The commit that was measured (default: as the report says)."),
    click.option("--run", "source", default="", metavar="ID",
                 help="Which run of a workflow measured it; its last attempt counts."),
    click.option("--attempt", default=0, metavar="N", help="Which attempt of that run."),
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
              metavar="FILE", help="Judge by what gate check found; record what was waived.")  # fmt: skip
@_with_options
def update(verdict_file: Path | None, **where: Any) -> None:  # noqa: ANN401 - the options above
    """Accept a run: add it to the baseline of its environment. The same run twice changes nothing.

    What got worse is held back and listed (exit code 1), see gate baseline accept; the rest is accepted.
    Known failures that passed in the last three accepted runs leave thresholds.yaml.
    """
    _add_run(_read(verdict_file) if verdict_file else None, None, (), **where)


@click.command("accept")
@click.option("--subject", "subjects", multiple=True, metavar="SUBJECT",
              help="A metric or test that may be worse (default: all that got worse).")  # fmt: skip
@REASON
@BY
@UNTIL
@_with_options
def accept_run(
    subjects: tuple[str, ...],
    reason: str,
    by: str | None,
    until: str,
    **where: Any,  # noqa: ANN401 - the options above
) -> None:
    """Accept a run although something got worse, with a reason. What got worse begins a new level."""
    _add_run(None, permission_of(reason, by, where["thresholds"], until), subjects, **where)


def _add_run(
    verdict: Verdict | None,
    permission: Permission | None,
    subjects: tuple[str, ...],
    *,
    reports: tuple[Path, ...],
    baseline: Path | None,
    commit: str | None,
    source: str,
    attempt: int,
    branch: str | None,
    by_pull: bool,
    remote: str,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    from gate.git import inside_repository
    from gate.pipeline.accept import Candidate
    from gate.pipeline.load import load_policy
    from gate.pipeline.read import read_reports

    policy = load_policy(thresholds)
    directory = baseline_directory(baseline, thresholds, policy, writes=not branch)
    run = read_reports(reports or (REPORTS,), policy, thresholds.resolve().parent, head=commit)
    _refuse_unusable(run)
    if verdict:
        _refuse_others(run, verdict)
    root = thresholds.absolute().parent
    candidate = Candidate(
        run, _measured(run, commit, thresholds), root, policy, verdict, permission, subjects,
        source=source, attempt=attempt, inside=inside_repository(root, directory),
        branch=branch, remote=remote,
    )  # fmt: skip
    if branch:
        target = Target(directory, policy.baseline_branch or branch, remote, thresholds)
        admitted, lines = _push(candidate, target, by_pull=by_pull)
    else:
        admitted, lines = _keep(candidate, directory, thresholds)
    for line in () if quiet else lines:
        say(line, console_for(no_color))
    list_held(admitted.held, run, measured=verdict is not None)


def _keep(candidate: Candidate, directory: Path, thresholds: Path) -> tuple[Admitted, list[str]]:
    """Write accepted runs to the work tree; what is to be said of it."""
    from gate.baseline.files import alone, read_baseline, write_suite
    from gate.pipeline.accept import admit

    with alone(directory):
        admitted = admit(candidate, read_baseline(directory))
        lines: list[str] = []
        out = {nodeid for finding in admitted.held for nodeid in finding.nodeids}
        for suite in candidate.run.suites.values():
            if known := admitted.memory.of(suite.name, suite.environment):
                lines.append(f"{_line(candidate, suite, known, out)} in {write_suite(directory, known)}")
        rules, notes = _without_mended(candidate, thresholds, thresholds.read_bytes(), admitted)
        if rules is not None:
            write_file(thresholds, rules)
    return admitted, [*lines, *_permitted(admitted), *notes]


def _without_mended(
    candidate: Candidate, thresholds: Path, text: bytes | None, admitted: Admitted
) -> tuple[bytes | None, tuple[str, ...]]:
    """thresholds.yaml without mended known failures, None if nothing changes; and what to say.

    Args:
        candidate: the run.
        thresholds: the file in the work tree.
        text: the file as it is to be changed; None: the branch of the baseline does not hold it.
        admitted: what was let in.
    """
    from gate.located import LocatedError
    from gate.pipeline.load import expected_at
    from gate.ratchet import mended, without_entries
    from gate.thresholds import parse_policy

    rules = thresholds.read_bytes() if text is None else text
    try:
        policy = parse_policy(rules.decode("utf-8-sig"))
    except (LocatedError, UnicodeDecodeError):
        return None, (f"{thresholds.name} of the branch cannot be read: nothing leaves it",)
    if not policy.known_failures:
        return None, ()
    known = expected_at(admitted.memory, candidate.root, candidate.commit)
    over = mended(policy, candidate.run, known, admitted.flaky)
    if text is None:
        return None, tuple(f"mended, remove it from {thresholds.name}: {name}" for name in over)
    left = without_entries(rules.decode(), over).encode() if over else None
    return left, tuple(f"mended, removed from {thresholds.name}: {name}" for name in over)


def _line(candidate: Candidate, suite: SuiteRun, known: SuiteRecords, held: Collection[str]) -> str:
    """What is said of an accepted suite."""
    failed = sum(test.failed and nodeid not in held for nodeid, test in suite.tests.items())
    tail = f", {failed} known failure{'s' * (failed != 1)}" if failed else ""
    runs = len(known.read)
    commit = candidate.commit[:12]
    return f"{suite.name}: accepted {commit} on {_figures(suite)}{tail}; {runs} run{'s' * (runs != 1)}"


def _figures(suite: SuiteRun) -> str:
    """Environment and amounts."""
    return f"{suite.environment.id}: {len(suite.metrics)} metrics, {len(suite.tests)} tests"


def _permitted(admitted: Admitted) -> list[str]:
    """Why something was accepted although it got worse."""
    return [f"permitted: {one}" for one in admitted.permitted]


def list_held(held: tuple[Finding, ...], run: Run, *, measured: bool = False) -> None:
    """Say what was not accepted, and end the command with its exit code.

    Args:
        held: what was held back.
        run: what was to be accepted.
        measured: a verdict said so, which says itself what to do.
    """
    if not held:
        return
    complain_of(as_one(group) for group in gathered(list(held)))
    complain(f"held back: {len(held)}; what was expected of them stays. If it has to be so: "
             "gate baseline accept --subject SUBJECT --reason TEXT")  # fmt: skip
    failing = sorted({n for f in held if f.kind in {"new-failure", "changed-failure"} for n in f.nodeids})
    if failing and not measured:
        created = max(suite.created for suite in run.suites.values())
        last = (datetime.fromtimestamp(created, UTC) + _FOR_A_WHILE).date()
        complain("or go on with known failures, for a while; in thresholds.yaml:\nknown_failures:")
        for nodeid in failing:
            complain(f"  {json.dumps(nodeid)}: {{until: {last}}}")
    sys.exit(EXIT_CODES["failed"])


def _refuse_unusable(run: Run) -> None:
    """End the command if a report cannot be read."""
    if run.problems:
        complain_of(run.problems)
        complain("nothing was accepted")
        sys.exit(EXIT_CODES["error"])


def _refuse_others(run: Run, verdict: Verdict) -> None:
    """End the command if a verdict is about something else."""
    from gate.baseline.records import hash_of

    judged, head = {suite.name: suite.report for suite in verdict.suites}, verdict.head.commit
    for suite in run.suites.values():
        other = ""
        if suite.name not in judged:
            other = f"the verdict does not judge suite {suite.name!r}"
        elif suite.commit and head and suite.commit != head:
            other = f"{suite.source} measured {suite.commit[:12]}, the verdict judges {head[:12]}"
        elif judged[suite.name] != hash_of(suite):
            other = f"the verdict is about another run of suite {suite.name!r} than {suite.source}"
        if other:
            complain(f"{other}: nothing was accepted; judge this run: gate check --json FILE")
            sys.exit(EXIT_CODES["error"])


def _measured(run: Run, commit: str | None, thresholds: Path) -> str:
    measured = commit or run.commit or head_of(thresholds)
    if not measured:
        source = next((suite.source for suite in run.suites.values()), "the report")
        raise click.UsageError(f"{source} does not say which commit it measured; add --commit SHA")
    return measured


def _push(candidate: Candidate, target: Target, *, by_pull: bool) -> tuple[Admitted, list[str]]:
    """Push accepted runs; what is to be said of it."""
    from gate.pipeline.accept import admit
    from gate.publish import Update

    suites = candidate.run.suites.values()
    figures = [f"{suite.name} on {_figures(suite)}" for suite in suites]
    tries: list[Admitted] = []

    def add(known: Memory, rules: bytes | None) -> Update:
        tries.append(admit(candidate, known))
        rules, notes = _without_mended(candidate, target.thresholds, rules, tries[-1])
        return Update(tries[-1].memory, rules, notes, "\n".join((*figures, *_permitted(tries[-1]))))

    message = Message(f"chore(baseline): accept {candidate.commit[:12]}", [candidate.commit])
    done, said = push(target, message, add, by_pull=by_pull)
    memory = done.update.memory
    out = {nodeid for finding in tries[-1].held for nodeid in finding.nodeids}
    lines = [
        _line(candidate, suite, known, out)
        for suite in suites
        if (known := memory.of(suite.name, suite.environment))
    ]
    return tries[-1], [*lines, *_permitted(tries[-1]), *done.update.notes, said]


def _read(file: Path) -> Verdict:
    """A verdict that says of each subject whether it may be accepted; another one ends the command."""
    from gate.verdict import read_verdict

    try:
        verdict = read_verdict(file.read_bytes())
    except ValueError as error:
        raise click.UsageError(f"--verdict {file}: {error}") from None
    whole = [f for f in verdict.findings if f.level == "fail" and f.kind in {"report-error", "environment"}]
    if whole:
        complain_of(whole)
        complain(f"the verdict is {verdict.verdict}: nothing was accepted")
        sys.exit(verdict.exit_code)
    return verdict
