"""`gate baseline update`, `accept` and `learn`: a run becomes part of the memory."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec.structs import replace

from gate.baseline import Permission
from gate.cli.conversing import GATES, connection, conversation
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
    content_of,
    head_of,
    say,
    write_file,
)
from gate.model import Run, SuiteRun
from gate.report.words import as_one, gathered
from gate.units import amount
from gate.verdict import EXIT_CODES, EXIT_USAGE, KINDS

if TYPE_CHECKING:
    from gate.baseline.records import Memory, Record, SuiteRecords
    from gate.github.nouns import WorkflowRun
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

    Failing, missing and newly skipped tests, missing metrics, higher work counts and broken limits are not
    accepted, but listed (exit code 1); the rest is. Without --verdict, a time that only looks slower is
    accepted. Known failures that passed in the last three accepted runs are removed from thresholds.yaml.
    """
    sys.exit(_add_run(_read(verdict_file) if verdict_file else None, None, (), **where))


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
    sys.exit(_add_run(None, permission_of(reason, by, where["thresholds"], until), subjects, **where))


@click.command()
@GATES
@common
@conversation
def learn(gates: tuple[str, ...], thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Accept what a workflow run of the default branch has measured; for on: workflow_run.

    Fetches reports and verdicts of the run and pushes what is accepted, by a pull request where the branch
    takes no push. Of a run that failed, all but what got worse is accepted. A run that was started by hand
    is accepted if it passed and was asked to update the baseline.
    """
    from gate.github.errors import GitHubError
    from gate.github.left import NothingToLearnError, finished, left_by_gate

    codes: list[int] = []
    with connection() as github, tempfile.TemporaryDirectory() as scratch:
        try:
            run = finished(github.context)
        except NothingToLearnError as error:
            say(f"nothing to accept: {error}", console_for(no_color))
            return
        if run.event == "push" and _brought_runs_alone(run.head_sha, thresholds):
            say("nothing to accept: the push brought accepted runs alone", console_for(no_color))
            return
        for number, gate in enumerate(dict.fromkeys(gates)):
            directory = Path(scratch) / str(number)
            try:  # each on its own: one that ends in error stops no other
                left_by_gate(github, run, gate, directory)
                codes.append(_learned(run, directory, thresholds, quiet=quiet, no_color=no_color))
            except NothingToLearnError as error:
                say(f"gate {gate}: nothing to accept: {error}", console_for(no_color))
            except GitHubError as error:
                complain(f"gate {gate}: GitHub: {error}")
                codes.append(EXIT_CODES["error"])
            except click.ClickException as error:
                complain(f"gate {gate}: {error.format_message()}")
                codes.append(EXIT_USAGE)
            except SystemExit as ended:
                codes.append(ended.code if isinstance(ended.code, int) else EXIT_CODES["error"])
    sys.exit(max(codes, default=0))


def _brought_runs_alone(commit: str, thresholds: Path) -> bool:
    """Whether a commit changes the baseline alone: accepting its run would bring the next such commit."""
    from gate.git import GitError, changed_files, repository_path
    from gate.pipeline.load import load_policy

    root = thresholds.absolute().parent
    place = repository_path(root, root / load_policy(thresholds).baseline)
    try:
        names = changed_files(root, f"{commit}^", commit)
    except GitError:  # the first commit has none before it
        return False
    return bool(place and names) and all(name.startswith(f"{place}/") for name in names)


def _learned(run: WorkflowRun, directory: Path, thresholds: Path, *, quiet: bool, no_color: bool) -> int:
    """Accept what a gate left of a run; that something got worse is no error, since the run is red for it."""
    from gate.github.artifacts import VERDICT
    from gate.runner import MANIFEST

    code = _add_run(
        _read(directory / VERDICT), None, (),
        reports=tuple(sorted(path.parent for path in directory.rglob(MANIFEST))), baseline=None,
        commit=run.head_sha, source=str(run.id), attempt=run.run_attempt, branch=run.head_branch,
        by_pull=True, remote="origin", thresholds=thresholds, quiet=quiet, no_color=no_color,
    )  # fmt: skip
    return code if code != EXIT_CODES["failed"] else 0


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
) -> int:
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
    _refuse_uncommitted(run, thresholds, directory)
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
    return list_held(admitted.held, run, measured=verdict is not None)


def _keep(candidate: Candidate, directory: Path, thresholds: Path) -> tuple[Admitted, list[str]]:
    """Write accepted runs to the work tree; what is to be said of it."""
    from gate.baseline.files import alone, read_baseline, write_suite

    with alone(directory):
        admitted = _admitted(candidate, read_baseline(directory))
        lines = [f"{line} in {write_suite(directory, known)}" for line, known in _lines(candidate, admitted)]
        rules, notes = _without_mended(candidate, thresholds, thresholds.read_bytes(), admitted)
        if rules is not None:
            write_file(thresholds, rules)
    return admitted, [*lines, *_permitted(admitted), *notes]


def _admitted(candidate: Candidate, memory: Memory) -> Admitted:
    """What is let in; a subject that names nothing is wrong usage."""
    from gate.pipeline.accept import NoSuchSubjectError, RemovedBeforeError, admit

    try:
        return admit(candidate, memory)
    except NoSuchSubjectError as error:
        raise click.UsageError(f"--subject {error}; nothing was accepted") from None
    except RemovedBeforeError as error:
        raise click.UsageError(f"{error}; nothing was accepted; run the suites again") from None


def _without_mended(
    candidate: Candidate, thresholds: Path, text: bytes | None, admitted: Admitted
) -> tuple[bytes | None, tuple[str, ...]]:
    """thresholds.yaml without known failures that are over, None if nothing changes; and what to say.

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
        said = f"cannot read {thresholds.name} on the branch; no known_failures entry was removed"
        return None, (said,)
    if not policy.known_failures:
        return None, ()
    known = expected_at(admitted.memory, candidate.root, candidate.commit)
    over = mended(policy, candidate.run, known, admitted.flaky)
    if text is None:
        return None, tuple(f"{name} passes again; remove its entry from {thresholds.name}" for name in over)
    left = without_entries(rules.decode(), over).encode() if over else None
    return left, tuple(f"{name} passes again; its entry was removed from {thresholds.name}" for name in over)


def _lines(candidate: Candidate, admitted: Admitted) -> Iterator[tuple[str, SuiteRecords]]:
    """What is said of each accepted suite, and all that is known of it now."""
    for suite in candidate.run.suites.values():
        if (known := admitted.memory.of(suite.name, suite.environment)) is None:
            continue
        tail = f"; {amount(known.count, 'run')}"
        if suite.name in admitted.added:
            record = admitted.added[suite.name]
            failed = f", {amount(len(record.failures), 'known failure')}"
            figures = f"{_figures(suite, record)}{failed if record.failures else ''}"
            line = f"{suite.name}: accepted {candidate.commit[:12]} on {figures}"
        else:
            line = f"{suite.name}: {candidate.commit[:12]} was accepted before, nothing changed"
        yield line + tail, known


def _figures(suite: SuiteRun, record: Record) -> str:
    """Environment and amounts, where not all of it was accepted with the whole."""
    amounts = (
        (record.metric_count, len(suite.metrics), "metrics"),
        (record.test_count, len(suite.tests), "tests"),
    )
    said = (f"{n} {what}" if n == of else f"{n} of {of} {what}" for n, of, what in amounts)
    return f"{suite.environment.id}: {', '.join(said)}"


def _permitted(admitted: Admitted) -> list[str]:
    """Why something was accepted although it got worse."""
    return [f"permitted: {one.described}" for one in admitted.permitted]


def list_held(held: tuple[Finding, ...], run: Run, *, measured: bool = False) -> int:
    """Say what was not accepted, and return the exit code that it means.

    Args:
        held: what was held back.
        run: what was to be accepted.
        measured: a verdict said so, which says itself what to do.
    """
    if not held:
        return 0
    complain("not accepted:")
    groups = [as_one(group) for group in gathered(list(held))]
    complain_of(replace(one, message=f"{KINDS[one.kind].one}: {one.message}") for one in groups)
    complain("The baseline keeps what it knew of them. If the change is intended: "
             "gate baseline accept --subject SUBJECT --reason TEXT")  # fmt: skip
    failing = sorted({n for f in held if f.kind in {"new-failure", "changed-failure"} for n in f.nodeids})
    if failing and not measured:
        created = max(suite.created for suite in run.suites.values())
        last = (datetime.fromtimestamp(created, UTC) + _FOR_A_WHILE).date()
        complain(f"To permit these failures until {last}, add to thresholds.yaml:\nknown_failures:")
        for nodeid in failing:
            complain(f"  {json.dumps(nodeid)}: {{until: {last}}}")
    return EXIT_CODES["failed"]


def _refuse_unusable(run: Run) -> None:
    """End the command if a report cannot be read."""
    if run.problems:
        complain_of(run.problems)
        complain("nothing was accepted")
        sys.exit(EXIT_CODES["error"])


def _refuse_uncommitted(run: Run, thresholds: Path, directory: Path) -> None:
    """End the command if the code that was measured is in no commit: nobody could measure it again."""
    from gate.baseline.files import is_baseline_file
    from gate.git import GitError, top_level

    for suite in (suite for suite in run.suites.values() if suite.uncommitted):
        try:
            top = top_level(thresholds.absolute().parent)
        except GitError:
            continue
        own = directory.resolve(), thresholds.resolve()
        paths = ((name, (top / name).resolve()) for name in suite.uncommitted)
        code = [
            name
            for name, path in paths
            if path not in own and own[0] not in path.parents and not is_baseline_file(path)
        ]
        if code:
            more = f" and {amount(len(code) - 1, 'more file')}" if len(code) > 1 else ""
            of = f" of {code[0]}{more}" if code[0] != "?" else ""
            raise click.UsageError(
                f"{suite.source} measured uncommitted changes{of}; commit them, and run the suites again"
            )


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
            other = f"the verdict judges another run of suite {suite.name!r} than {suite.source}"
        if other:
            complain(f"nothing was accepted: {other}; judge this run: gate check --json FILE")
            sys.exit(EXIT_CODES["error"])


def _measured(run: Run, commit: str | None, thresholds: Path) -> str:
    measured = commit or run.commit or head_of(thresholds)
    if not measured:
        source = next((suite.source for suite in run.suites.values()), "the report")
        raise click.UsageError(f"{source} does not say which commit it measured; add --commit SHA")
    return measured


def _push(candidate: Candidate, target: Target, *, by_pull: bool) -> tuple[Admitted, list[str]]:
    """Push accepted runs; what is to be said of it."""
    from gate.publish import Update

    suites = candidate.run.suites.values()
    tries: list[Admitted] = []

    def add(known: Memory, rules: bytes | None) -> Update:
        tries.append(_admitted(candidate, known))
        added = tries[-1].added
        figures = [f"{s.name} on {_figures(s, added[s.name])}" for s in suites if s.name in added]
        rules, notes = _without_mended(candidate, target.thresholds, rules, tries[-1])
        return Update(tries[-1].memory, rules, notes, "\n".join((*figures, *_permitted(tries[-1]))))

    message = Message(f"chore(baseline): accept {candidate.commit[:12]}", [candidate.commit])
    done, said = push(target, message, add, by_pull=by_pull)
    lines = [line for line, _ in _lines(candidate, tries[-1])]
    return tries[-1], [*lines, *_permitted(tries[-1]), *done.update.notes, said]


def _read(file: Path) -> Verdict:
    """A verdict that says of each subject whether it may be accepted; another one ends the command."""
    from gate.verdict import read_verdict

    try:
        verdict = read_verdict(content_of(file))
    except ValueError as error:
        raise click.UsageError(f"--verdict {file}: {error}") from None
    whole = [
        f
        for f in verdict.findings
        if f.level == "fail" and f.kind in {"report-error", "environment"} and f.subject != "baseline"
    ]
    if whole:
        complain_of(whole)
        complain(f"nothing was accepted: the check ended with {verdict.verdict!r}")
        sys.exit(verdict.exit_code)
    return verdict
