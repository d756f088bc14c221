"""What of the memory goes to a branch of the remote, and who permits it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from gate.baseline import Permission
from gate.cli.shared import complain
from gate.verdict import EXIT_CODES

if TYPE_CHECKING:
    from gate.baseline.records import Memory
    from gate.publish import Published, Update

_PUSH: Final = (
    click.option("--push", "branch", metavar="BRANCH",
                 help="Commit the accepted runs and push them to this branch of the remote; the work tree "
                      "stays as it is. If thresholds.yaml sets baseline_branch, they go there instead."),
    click.option("--pull-request", "by_pull", is_flag=True,
                 help="If the remote rejects the push, push to gate-baseline-for/BRANCH and open a pull "
                      "request."),
    click.option("--remote", default="origin", show_default=True, metavar="REMOTE",
                 help="With --push: the remote."),
)  # fmt: skip
REASON: Final = click.option("--reason", required=True, metavar="TEXT", help="Why; recorded with your name.")
UNTIL: Final = click.option(
    "--until",
    default="",
    metavar="DATE",
    help="The last day on which an accepted test failure is permitted, e.g. 2027-01-31.",
)
BY: Final = click.option("--by", metavar="WHO", help="Your name (default: as GitHub or git knows it).")


_F = TypeVar("_F", bound=Callable[..., Any])


def pushing(command: _F) -> _F:
    """Options of a command that can push what it writes."""
    for option in reversed(_PUSH):
        command = option(command)
    return command


def permission_of(reason: str, by: str | None, thresholds: Path, until: str = "") -> Permission:
    """A reason and somebody whose it is; what lacks is wrong usage."""
    from gate.git import user_name

    if not reason.strip():
        raise click.UsageError("--reason is empty; say why it may be worse")
    who = by or os.environ.get("GITHUB_ACTOR") or user_name(thresholds.absolute().parent)
    if not who:
        raise click.UsageError(
            "cannot tell who accepts this: GITHUB_ACTOR and git's user.name are not set; add --by WHO"
        )
    try:
        last = date.fromisoformat(until).isoformat() if until else ""
    except ValueError:
        raise click.UsageError(f"--until: {until!r} is no date; write e.g. 2027-01-31") from None
    if last and last < datetime.now(UTC).date().isoformat():
        raise click.UsageError(f"--until: {last} is over; name a day to come")
    return Permission("run", who, " ".join(reason.split()), last)


class Target(NamedTuple):
    """Where accepted runs are pushed to."""

    directory: Path
    branch: str
    remote: str
    thresholds: Path


class Message(NamedTuple):
    """What the commit says."""

    title: str
    measured: Sequence[str]
    """The commits of the code."""


def push(
    target: Target,
    message: Message,
    update: Callable[[Memory, bytes | None], Update],
    *,
    by_pull: bool,
) -> tuple[Published, str]:
    """Push an update of the baseline: what became of it, and a line that says so.

    Args:
        target: where to.
        message: what to write.
        update: what to change, given what the branch holds.
        by_pull: a pull request brings it where the branch takes no push.
    """
    from gate.publish import RefusedError, publish

    send = partial(
        publish, target.thresholds.absolute().parent, target.directory, update=update,
        measured=message.measured, rules=target.thresholds, remote=target.remote,
    )  # fmt: skip
    where = target.branch
    try:
        done = send(where, message=f"{message.title} [skip ci]")
    except RefusedError as error:
        if not by_pull:
            complain(
                f"{target.remote} rejected the push to {where}: {error}. Allow this account to bypass the "
                "branch rule, or open a pull request instead: --pull-request"
            )
            sys.exit(EXIT_CODES["failed"])
        own = f"gate-baseline-for/{where}"
        done = send(own, message=message.title, onto=where)
        text = "\n".join((done.update.figures, *done.update.notes))
        where = f"{own}, pull request #{_pull(own, where, message.title, text)}"
    return (
        done,
        f"pushed {done.commit[:12]} to {where}"
        if done.commit
        else f"{where} already has this run; nothing was pushed",
    )


def _pull(head: str, base: str, title: str, figures: str) -> int:
    """Open the pull request that brings the runs of a branch."""
    from gate.github.client import GitHub
    from gate.github.context import ContextError, context_from
    from gate.github.errors import GitHubError
    from gate.github.pulls import open_pull

    try:
        with GitHub(context_from(os.environ)) as github:
            return open_pull(github, head, base, title, f"Accepted runs.\n\n```\n{figures}\n```\n")
    except (ContextError, GitHubError) as error:
        complain(f"{head} is pushed, but no pull request was opened: {error}")
        sys.exit(EXIT_CODES["error"])
