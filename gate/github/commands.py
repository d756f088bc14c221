"""`/gate waive` in a comment: who may say it is asked, then what failed is judged once more."""

from datetime import datetime
from typing import Any, Final

import msgspec

from gate.github.client import GitHub
from gate.github.context import ContextError
from gate.github.errors import GitHubError
from gate.github.nouns import Comment, Pull
from gate.github.questions import runs_of
from gate.github.waivers import command_in, find_waivers
from gate.policy import Policy

_YES: Final = "+1"
_NO: Final = "confused"


def obey(github: GitHub, policy: Policy, workflow: str) -> str:
    """Answer a comment that waives: run the failed jobs of the head commit again, or say why not.

    The waiver itself is read, and checked once more, by the run that judges.

    Args:
        github: the connection; the event of its context is `issue_comment`.
        policy: the rules of the default branch.
        workflow: the file of the workflow that judges.

    Returns:
        What was done, in words.

    Raises:
        ContextError: the event is another one.
        GitHubError: GitHub refused, or could not be reached in time.
    """
    context = github.context
    try:
        comment = msgspec.convert(context.payload.get("comment"), Comment)
    except msgspec.ValidationError:
        raise ContextError("gate obey needs the event of a comment; it is for on: issue_comment") from None
    if not context.pull or not command_in(comment):
        return "the comment is no command"
    waivers = find_waivers(github, context.pull, self_waivers=policy.self_waivers, workflow=workflow)
    if not any(waiver.source == comment.html_url for waiver in waivers.granted):
        _react(github, comment, _NO)
        return "; ".join(waivers.refused) or "the comment waives nothing"
    runs = runs_of(github, github.get(f"/pulls/{context.pull}", Pull), workflow)
    if not runs:
        _react(github, comment, _NO)
        return f"no run of {workflow} judged {waivers.head[:12]}"
    newest = max(runs, key=lambda run: run.id)
    if newest.status not in {"", "completed"}:
        _react(github, comment, _YES)
        return f"run {newest.id} is going on and will read it"
    # Reports that are too old to be judged are measured anew.
    old = _seconds(comment.created_at) - _seconds(newest.created_at) > policy.max_age.to("s")
    try:
        how = "rerun" if old else "rerun-failed-jobs"
        github.create(f"/actions/runs/{newest.id}/{how}", {}, dict[str, Any])
    except GitHubError as error:
        _react(github, comment, _NO)
        return f"run {newest.id} cannot be started again: {error}"
    _react(github, comment, _YES)
    return f"run {newest.id} judges once more"


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _react(github: GitHub, comment: Comment, content: str) -> None:
    github.create(f"/issues/comments/{comment.id}/reactions", {"content": content}, dict[str, Any])
