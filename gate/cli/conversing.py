"""`gate comment`, `relay`, `waivers` and `obey`: what is said to GitHub, and what is asked of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec

import click

from gate.cli.shared import common, complain, console_for, content_of, say, write_file
from gate.github.names import DEFAULT
from gate.verdict import EXIT_CODES

if TYPE_CHECKING:
    from gate.github.client import GitHub
    from gate.github.comments import Run
    from gate.github.nouns import Pull, WorkflowRun
    from gate.github.relay import Question
    from gate.verdict import Verdict


def _named(_context: click.Context, _option: click.Parameter, name: str) -> str:
    """An input of an action that is left empty means the only gate."""
    return name or DEFAULT


GATE: Final = click.option(
    "--gate",
    "gate_id",
    default=DEFAULT,
    callback=_named,
    show_default=True,
    metavar="NAME",
    help="Name of the gate; needed only with several gates.",
)
GATES: Final = click.option(
    "--gate",
    "gates",
    multiple=True,
    default=(DEFAULT,),
    show_default=True,
    metavar="NAME",
    help="Name of the gate, needed only with several gates; may be repeated.",
)
PULL: Final = click.option(
    "--pull", type=click.IntRange(min=1), metavar="NUMBER", help="The pull request (default: the event's)."
)

WORKFLOW: Final = click.option(
    "--workflow",
    default="regression-gate.yml",
    show_default=True,
    metavar="FILE",
    help="The workflow that judges.",
)
_UNASKED: Final = (
    "this run was started again, and GitHub did not say whether the pull request still has its base branch; "
    "give the job pull-requests: read and actions: read, or push"
)
_OUTCOMES: Final = {
    "shared": "not written, another job of this run speaks as the same gate, and its verdict is as bad or "
    "worse; give each job a name of its own: --gate NAME",
    "superseded": "not written, a newer run already reported",
    "unneeded": "not needed, nothing to report",
}
PACE: float = 1.0
"""Factor of all waiting for GitHub."""

_P = ParamSpec("_P")


def conversation(command: Callable[_P, None]) -> Callable[_P, None]:
    """Turn what GitHub refuses into a message and an exit code."""

    @wraps(command)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        from gate.github.context import ContextError
        from gate.github.errors import GitHubError

        try:
            command(*args, **kwargs)
        except ContextError as error:
            raise click.UsageError(str(error)) from None
        except GitHubError as error:
            complain(f"GitHub: {error}")
            sys.exit(EXIT_CODES["error"])

    return guarded


@click.command()
@click.argument("verdict_file", type=click.Path(path_type=Path, dir_okay=False), metavar="VERDICT.json")
@GATE
@PULL
@common
@conversation
def comment(
    verdict_file: Path, gate_id: str, pull: int | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Create or update the comment on the pull request.

    Repository, pull request and token come from the variables of GitHub Actions (GITHUB_REPOSITORY,
    GITHUB_EVENT_PATH, GITHUB_TOKEN, GITHUB_API_URL). With nothing to say, a comment that is there gets one
    line, and none is written otherwise. A token that may not comment is no error: the verdict stands.
    """
    from gate.github.errors import ForbiddenError
    from gate.github.nouns import Pull

    verdict = _verdict_of(verdict_file)
    with connection() as github:
        number = pull or github.context.pull
        if not number:
            raise click.UsageError("the event is about no pull request; name it with --pull NUMBER")
        run = (github.context.run_id, github.context.attempt)
        try:
            now = github.get(f"/pulls/{number}", Pull)
            if outdated := "" if pull else _outdated(github, now):
                say(f"no comment: {outdated}", console_for(no_color))
                return
            outcome = _write(github, number, gate_id, verdict, always=_always(thresholds), run=run)
        except ForbiddenError as error:
            complain(f"not written: {error}; the verdict stands, see the summary of the job")
            return
    if not quiet:
        say(f"comment on #{number}: {_OUTCOMES.get(outcome, outcome)}", console_for(no_color))


@click.command()
@GATES
@WORKFLOW
@click.option("--check", "check_name", default="regression-gate / verdict", show_default=True,
              metavar="NAME", help="Name of the check; a gate with a name adds it.")  # fmt: skip
@common
@conversation
def relay(
    gates: tuple[str, ...], workflow: str, check_name: str, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Post a finished run's verdict to its pull request; for on: workflow_run.

    Its artifact is treated as hostile: nothing of it is unpacked or executed. Writes the comment and a check
    run of the head commit with annotations.
    """
    from gate.git import repository_path
    from gate.github.relay import NothingToTellError, answer, ended_run
    from gate.pipeline.load import load_policy

    policy = load_policy(thresholds)
    rules = repository_path(thresholds.absolute().parent, thresholds) or thresholds.as_posix()
    with connection() as github:
        try:
            asked = _asked(github, ended_run(github.context))
        except NothingToTellError as error:
            say(f"nothing to tell: {error}", console_for(no_color))
            return
        told = [
            _tell(github, asked, _Said(
                gate, answer(github, asked, policy, rules, gate=gate, workflow=workflow),
                check_name if gate == DEFAULT else f"{check_name} ({gate})",
                rules.rpartition("/")[0], policy.comment == "always",
            ))
            for gate in dict.fromkeys(gates)
        ]  # fmt: skip
    for line, well in (said for of_gate in told for said in of_gate):
        if not well:
            complain(line)
        elif not quiet:
            say(line, console_for(no_color))
    if not all(well for of_gate in told for _, well in of_gate):
        sys.exit(EXIT_CODES["error"])


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True,
              metavar="FILE", help="For gate check --waivers.")  # fmt: skip
@PULL
@click.option("--base", metavar="REF", help="Take the rules from the merge base with REF.")
@common
@conversation
def waivers(
    output: Path, pull: int | None, base: str | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Ask GitHub which waivers of a pull request count for its head commit.

    A waiver is a comment `/gate waive SUBJECT reason`, or the label gate-waiver, by somebody who may write to
    the repository, given after the newest run of that commit began. After a merge, those of the pull
    request count. A run for another base branch than the pull request's is outdated, and gate check says so.
    """
    import msgspec

    from gate.github.errors import ForbiddenError, NotFoundError
    from gate.github.nouns import Pull
    from gate.github.questions import outdated
    from gate.github.waivers import find_waivers, merged_as
    from gate.pipeline.load import policy_of
    from gate.waivers import NO_WAIVERS

    write_file(output, msgspec.json.encode(NO_WAIVERS))
    policy = policy_of(thresholds, base)
    console = console_for(no_color)
    with connection() as github:
        if github.context.event == "pull_request" and github.context.attempt > 1:  # until GitHub has answered
            write_file(output, msgspec.json.encode(msgspec.structs.replace(NO_WAIVERS, outdated=_UNASKED)))
        number, head = pull or github.context.pull, "" if pull else github.context.head
        if not number and github.context.event == "push":
            number = merged_as(github, os.environ.get("GITHUB_SHA", ""))
        if not number:
            say("the event is about no pull request: no waivers", console)
            return
        found = find_waivers(
            github, number, self_waivers=policy.self_waivers, head=head, workflow=github.context.workflow
        )
        if github.context.event == "pull_request" and not pull:
            now = github.get(f"/pulls/{number}", Pull)
            try:
                why = outdated(github, now)
            except (ForbiddenError, NotFoundError):  # a token that may not read is told one or the other
                why = _UNASKED if github.context.attempt > 1 else ""
            found = msgspec.structs.replace(found, outdated=why)
    write_file(output, msgspec.json.encode(found))
    for waiver in found.granted:
        say(f"waiver of {waiver.subject} by {waiver.by}: {waiver.reason}", console)
    for reason in filter(None, (*found.refused, found.outdated)):
        say(reason, console)
    if not (quiet or found.granted or found.refused or found.outdated):
        say("no waivers", console)


@click.command()
@WORKFLOW
@common
@conversation
def obey(workflow: str, thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Answer a comment `/gate waive SUBJECT reason`; for on: issue_comment.

    If who wrote it may waive, the failed jobs of the head commit run again, and judge with the waiver.
    """
    from gate.github.commands import obey as answered
    from gate.pipeline.load import load_policy

    policy = load_policy(thresholds)
    with connection() as github:
        said = answered(github, policy, workflow)
    if not quiet:
        say(said, console_for(no_color))


def connection() -> GitHub:
    """GitHub, as the variables of Actions name it."""
    from gate.github.client import GitHub
    from gate.github.context import context_from

    return GitHub(context_from(os.environ), pace=PACE)


def _verdict_of(file: Path) -> Verdict:
    """The verdict of a file; an error where the check left none."""
    from gate.verdict import read_verdict, unusable

    if not file.exists():
        reason = "the job ended before it had judged: it was cancelled, or reached its timeout-minutes"
        remedy = "give the job more time than its suites and the comparison need, and run it again"
        return unusable(reason, "", remedy=remedy)
    try:
        return read_verdict(content_of(file))
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None


def _always(thresholds: Path) -> bool:
    """Whether a comment is wanted that has nothing to say; rules that are damaged do not say so."""
    from gate.located import LocatedError
    from gate.pipeline.load import load_policy

    try:
        return load_policy(thresholds).comment == "always"
    except LocatedError:
        return False


def _asked(github: GitHub, run: WorkflowRun) -> Question:
    """What a run was asked; if GitHub does not say, that is the answer, so that no older check stays."""
    from gate.github.errors import GitHubError
    from gate.github.relay import Question, question

    try:
        return question(github, run)
    except GitHubError as error:
        return Question(run, 0, 0, "", closed=str(error))


class _Said(NamedTuple):
    """What a gate has to say of a run."""

    gate: str
    verdict: Verdict
    check: str
    """Name of the check."""
    directory: str
    """That of thresholds.yaml, from the top of the repository."""
    always: bool
    """Whether a comment is wanted that has nothing to say."""


def _tell(github: GitHub, asked: Question, said: _Said) -> list[tuple[str, bool]]:
    """Write check and comment of a gate: what became of each, and whether that is well.

    One that is refused keeps neither the other one nor another gate from being told.
    """
    from gate.github.checks import Check, write_check
    from gate.github.errors import ForbiddenError, GitHubError
    from gate.report.annotations import annotations
    from gate.report.comment import Links
    from gate.report.comment import comment as full
    from gate.report.text import one_line
    from gate.report.words import headline

    run, verdict, name = (asked.run.id, asked.run.run_attempt), said.verdict, one_line(said.check)
    links = Links(github.context.url_of(run[0]))
    check = Check(
        name, asked.run.head_sha, run, verdict.verdict, one_line(headline(verdict)), full(verdict, links),
        annotations(verdict, said.directory),
    )  # fmt: skip
    of = f"check {name!r} of {check.commit[:12]}"
    became: str = ""
    try:
        became = write_check(github, check)
        lines = [(f"{of}, {verdict.verdict}: {_OUTCOMES.get(became, became)}", True)]
    except ForbiddenError as error:
        lines = [(f"{of} not written: {error}", False)]
    if not asked.pull or became == "superseded":
        return lines
    on = f"comment on #{asked.pull}"
    try:
        became = _write(github, asked.pull, said.gate, verdict, always=said.always, run=run, alone=True)
    except GitHubError as error:
        return [*lines, (f"{on} not written: {error}", False)]
    return [*lines, (f"{on}: {_OUTCOMES.get(became, became)}", True)]


def _outdated(github: GitHub, now: Pull) -> str:
    """Why the event's run is not to be told of on its pull request; empty: it is."""
    from gate.github.errors import ForbiddenError, NotFoundError
    from gate.github.questions import outdated

    if github.context.head not in {"", now.head.sha}:
        return f"#{now.number} has a newer commit, {now.head.sha[:12]}"
    try:
        return outdated(github, now)
    except (ForbiddenError, NotFoundError):  # a token that may not read is told one or the other
        return ""


def _write(
    github: GitHub, number: int, gate_id: str, verdict: Verdict, *,
    always: bool, run: Run, alone: bool = False,
) -> str:  # fmt: skip
    """Write the comment of a verdict; one line, if there is nothing to say."""
    from gate.github.comments import write_comment
    from gate.report.comment import Links, quiet_comment, silent
    from gate.report.comment import comment as full

    links = Links(github.context.url_of(run[0]))
    text = quiet_comment(verdict, links) if silent(verdict) else full(verdict, links)
    needed = always or not silent(verdict)
    word = verdict.verdict
    return write_comment(github, number, gate_id, run, text, verdict=word, needed=needed, alone=alone)
