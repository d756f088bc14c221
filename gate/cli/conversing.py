"""`gate comment`, `relay` and `waivers`: what is said to GitHub, and what is asked of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec

import click

from gate.cli.shared import common, complain, console_for, content_of, say, write_file
from gate.verdict import EXIT_CODES

if TYPE_CHECKING:
    from gate.github.client import GitHub
    from gate.github.comments import Run
    from gate.verdict import Verdict

GATE: Final = click.option(
    "--gate",
    "gate_id",
    default="gate",
    show_default=True,
    metavar="NAME",
    help="Whose comment it is, where a repository has several gates.",
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
PACE: float = 1.0
"""Factor of all waiting for GitHub."""

_P = ParamSpec("_P")


def _conversation(command: Callable[_P, None]) -> Callable[_P, None]:
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
@_conversation
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
    with _connection() as github:
        number = pull or github.context.pull
        if not number:
            raise click.UsageError("the event is about no pull request; name it with --pull NUMBER")
        run = (github.context.run_id, github.context.attempt)
        try:
            now = github.get(f"/pulls/{number}", Pull).head.sha
            if not pull and github.context.head not in {"", now}:
                say(f"no comment: #{number} has a newer commit, {now[:12]}", console_for(no_color))
                return
            outcome = _write(github, number, gate_id, verdict, always=_always(thresholds), run=run)
        except ForbiddenError as error:
            complain(f"not written: {error}; the verdict stands, see the summary of the job")
            return
    if not quiet:
        say(f"comment on #{number}: {outcome}", console_for(no_color))


@click.command()
@GATE
@WORKFLOW
@click.option("--check", "check_name", default="regression-gate / verdict", show_default=True, metavar="NAME",
              help="Name of the check run that is written.")  # fmt: skip
@common
@_conversation
def relay(
    gate_id: str, workflow: str, check_name: str, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Tell on a pull request what a run of its code left; for on: workflow_run.

    Its artifact is treated as hostile: nothing of it is unpacked or executed. Writes the comment and a check
    run of the head commit with annotations.
    """
    from gate.github.checks import Check, write_check
    from gate.github.relay import NothingToTellError, told
    from gate.pipeline.load import load_policy
    from gate.report.annotations import annotations
    from gate.report.comment import Links
    from gate.report.comment import comment as full
    from gate.report.text import one_line
    from gate.report.words import headline

    policy = load_policy(thresholds)
    console = console_for(no_color)
    with _connection() as github:
        try:
            found = told(github, policy, thresholds.as_posix(), gate_id, workflow)
        except NothingToTellError as error:
            say(f"nothing to tell: {error}", console)
            return
        check = Check(
            check_name, found.commit, found.verdict.verdict, one_line(headline(found.verdict)),
            full(found.verdict, Links(github.context.url_of(found.run))),
            annotations(found.verdict, thresholds.parent.as_posix()),
        )  # fmt: skip
        write_check(github, check)
        if not quiet:
            say(f"check {check_name!r} of {found.commit[:12]}: {found.verdict.verdict}", console)
        if not found.pull:
            return
        run, always = (found.run, found.attempt), policy.comment == "always"
        outcome = _write(github, found.pull, gate_id, found.verdict, always=always, run=run)
    if not quiet:
        say(f"comment on #{found.pull}: {outcome}", console)


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True,
              metavar="FILE", help="For gate check --waivers.")  # fmt: skip
@PULL
@click.option("--base", metavar="REF", help="Take the rules from the merge base with REF.")
@common
@_conversation
def waivers(
    output: Path, pull: int | None, base: str | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Ask GitHub which waivers of a pull request count for its head commit.

    A waiver is a comment `/gate waive SUBJECT reason`, or the label gate-waiver, by somebody who may write to
    the repository, given after the newest run of that commit began. After a merge, those of the pull
    request count.
    """
    import msgspec

    from gate.github.waivers import find_waivers, merged_as
    from gate.pipeline.load import policy_of
    from gate.waivers import NO_WAIVERS

    policy = policy_of(thresholds, base)
    write_file(output, msgspec.json.encode(NO_WAIVERS))
    console = console_for(no_color)
    with _connection() as github:
        number, head = pull or github.context.pull, "" if pull else github.context.head
        if not number and github.context.event == "push":
            number = merged_as(github, os.environ.get("GITHUB_SHA", ""))
        if not number:
            say("the event is about no pull request: no waivers", console)
            return
        found = find_waivers(
            github, number, self_waivers=policy.self_waivers, head=head, workflow=github.context.workflow
        )
    write_file(output, msgspec.json.encode(found))
    for waiver in found.granted:
        say(f"waiver of {waiver.subject} by {waiver.by}: {waiver.reason}", console)
    for reason in found.refused:
        say(reason, console)
    if not (quiet or found.granted or found.refused):
        say("no waivers", console)


@click.command()
@WORKFLOW
@common
@_conversation
def obey(workflow: str, thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Answer a comment `/gate waive SUBJECT reason`; for on: issue_comment.

    If who wrote it may waive, the failed jobs of the head commit run again, and judge with the waiver.
    """
    from gate.github.commands import obey as answered
    from gate.pipeline.load import load_policy

    policy = load_policy(thresholds)
    with _connection() as github:
        said = answered(github, policy, workflow)
    if not quiet:
        say(said, console_for(no_color))


def _connection() -> GitHub:
    from gate.github.client import GitHub
    from gate.github.context import context_from

    return GitHub(context_from(os.environ), pace=PACE)


def _verdict_of(file: Path) -> Verdict:
    """The verdict of a file; an error where the check left none."""
    from gate.verdict import read_verdict, unusable

    if not file.exists():
        return unusable("the check left no verdict", "")
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


def _write(github: GitHub, number: int, gate_id: str, verdict: Verdict, *, always: bool, run: Run) -> str:
    """Write the comment of a verdict; one line, if there is nothing to say."""
    from gate.github.comments import write_comment
    from gate.report.comment import Links, quiet_comment, silent
    from gate.report.comment import comment as full

    links = Links(github.context.url_of(run[0]))
    text = quiet_comment(verdict, links) if silent(verdict) else full(verdict, links)
    return write_comment(github, number, gate_id, run, text, needed=always or not silent(verdict))
