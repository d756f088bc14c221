"""Who waived what: labels and comments of a pull request that count for one head commit.

A waiver counts if who gave it may write to the repository, if it was given after the newest run of the head
commit began (a push begins another one), and if nobody edited it. GitHub's clock alone decides, and author
association is no permission.
"""

import re
from collections.abc import Iterator
from typing import Final

from gate.github.client import GitHub
from gate.github.errors import NotFoundError
from gate.github.nouns import Comment, IssueEvent, Permission, Pull
from gate.github.questions import runs_of
from gate.report.text import one_line
from gate.verdict import Waiver
from gate.waivers import EVERYTHING, Waivers

LABEL: Final = "gate-waiver"
_COMMAND: Final = re.compile(
    r"\s*/gate[ \t]+waive[ \t]+(`[^`]+`|\"[^\"]+\"|\S+)(?:[ \t]+(\S.*))?", re.IGNORECASE
)
"""Of the first line of a comment. A subject with spaces stands in quotes."""
_MAY_WRITE: Final = frozenset({"admin", "write"})
_LONGEST_REASON: Final = 300


def find_waivers(
    github: GitHub, pull: int, *, self_waivers: bool, head: str = "", workflow: str = ""
) -> Waivers:
    """All waivers of a pull request that count for its head commit.

    Args:
        github: the connection; its token may read pull requests and runs.
        pull: the number of the pull request.
        self_waivers: whether the author may waive.
        head: the commit that was judged; empty: that of the pull request.
        workflow: path of the workflow whose runs begin with a push; empty: any workflow.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    about = github.get(f"/pulls/{pull}", Pull)
    if head and about.head.sha != head:
        return Waivers(
            head, refused=("the pull request has a newer commit, so no waiver counts for this one",)
        )
    wishes = [*_by_comment(github, pull), *_by_label(github, pull)]
    if not wishes:
        return Waivers(about.head.sha)
    # When the newest run of the commit began; empty if there is none.
    begun = max((run.created_at for run in runs_of(github, about, workflow)), default="")
    author = about.user.login if about.user else ""
    granted: list[Waiver] = []
    refused: list[str] = []
    permitted: dict[str, bool] = {}
    for waiver, given, edited in wishes:
        reason = _why_not(waiver, given, begun, author, edited=edited, self_waivers=self_waivers)
        if not reason and waiver.by not in permitted:
            permitted[waiver.by] = _may_write(github, waiver.by)
        if not reason and not permitted[waiver.by]:
            reason = f"{waiver.by} has no write access to this repository"
        if reason:
            refused.append(f"the waiver of {waiver.subject} by {waiver.by} does not count: {reason}")
        else:
            granted.append(waiver)
    return Waivers(about.head.sha, tuple(granted), tuple(refused))


def command_in(comment: Comment) -> re.Match[str] | None:
    """The command that a comment begins with: its subject and its reason."""
    return _COMMAND.fullmatch(comment.body.partition("\n")[0].rstrip())


def merged_as(github: GitHub, commit: str) -> int:
    """The pull request that was merged as a commit; 0 if there is none.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    if not commit:
        return 0
    merged = [p for p in github.pages(f"/commits/{commit}/pulls", Pull) if p.merge_commit_sha == commit]
    return merged[0].number if len(merged) == 1 else 0


def _why_not(waiver: Waiver, given: str, begun: str, author: str, *, edited: bool, self_waivers: bool) -> str:
    """Why a waiver does not count, as far as it says itself. Times are texts in UTC that sort by time."""
    if not waiver.reason:
        return "it gives no reason"
    if edited:
        return "the comment was edited; post a new one"
    if not begun or given < begun:
        return "it is older than the newest run of this commit; post it again"
    if waiver.by == author and not self_waivers:
        return "thresholds.yaml forbids waivers by the author of the pull request (github.self_waivers)"
    return ""


def _by_comment(github: GitHub, pull: int) -> Iterator[tuple[Waiver, str, bool]]:
    for comment in github.pages(f"/issues/{pull}/comments", Comment):
        match = command_in(comment)
        if match and comment.user:
            reason = one_line(match[2] or "")[:_LONGEST_REASON]
            waiver = Waiver(one_line(match[1].strip('`"')), comment.user.login, reason, comment.html_url)
            yield waiver, comment.created_at, comment.updated_at != comment.created_at


def _by_label(github: GitHub, pull: int) -> list[tuple[Waiver, str, bool]]:
    """The label, if it is still there: who put it last."""
    last: tuple[Waiver, str, bool] | None = None
    for event in github.pages(f"/issues/{pull}/events", IssueEvent):
        if event.label is None or event.label.name != LABEL or event.actor is None:
            continue
        if event.event == "labeled":
            waiver = Waiver(EVERYTHING, event.actor.login, f"label {LABEL}", LABEL)
            last = (waiver, event.created_at, False)
        elif event.event == "unlabeled":
            last = None
    return [last] if last else []


def _may_write(github: GitHub, login: str) -> bool:
    try:
        found = github.get(f"/collaborators/{login}/permission", Permission)
    except NotFoundError:
        return False
    return found.permission in _MAY_WRITE
