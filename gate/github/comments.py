"""The one comment of a gate on a pull request: found again by a hidden line, edited in place.

Two runs may write at once, and a write may take place though its answer is lost. So whoever wrote looks
once more: of several comments the oldest stays, and the youngest run has the last word in it.
"""

import re
from typing import Final, Literal

from gate.github.client import GitHub
from gate.github.errors import ForbiddenError, GitHubError, NotFoundError, UncertainError
from gate.github.names import encoded
from gate.github.nouns import Comment, User, WorkflowRun

Outcome = Literal["created", "edited", "unchanged", "superseded", "unneeded"]
"""What became of the comment; superseded: a younger run has spoken; unneeded: there was none, and no need."""

_ATTEMPTS: Final = 4
_MARKER: Final = re.compile(r"<!-- regression-gate: (\S+) run (\d+)\.(\d+) -->")


Run = tuple[int, int]
"""A workflow run and its attempt; a younger one is greater."""


def marker(gate: str, run: Run) -> str:
    """The hidden first line of a comment: whose it is, and which run it tells of."""
    return f"<!-- regression-gate: {encoded(gate)} run {run[0]}.{run[1]} -->"


def write_comment(
    github: GitHub, pull: int, gate: str, run: Run, text: str, *, needed: bool = True
) -> Outcome:
    """Create or edit the gate's comment on a pull request.

    Args:
        github: the connection.
        pull: the number of the pull request.
        gate: which gate of the repository speaks.
        run: which run it tells of.
        text: what it says.
        needed: whether to create a comment if there is none yet.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    body = f"{marker(gate, run)}\n{text}"
    writer = _writer(github)
    created, last = False, GitHubError("the comment vanishes again and again")
    for _ in range(_ATTEMPTS):
        found = _comments(github, pull, gate, writer)
        if not found and not needed:
            return "unneeded"
        try:
            if not found:
                github.create(f"/issues/{pull}/comments", {"body": body}, Comment)
                created = True
                continue  # look whether another run did the same
            kept, told, said = found[0]
            for other, _, _ in found[1:]:
                github.delete(f"/issues/comments/{other}")
            if told > run and _exists(github, told[0]):
                return "superseded"
            if said == body:
                return "created" if created else "unchanged"
            github.change(f"/issues/comments/{kept}", {"body": body})
        except (UncertainError, NotFoundError) as error:  # it may be there, or may be gone: look again
            last = error
            created |= isinstance(error, UncertainError)
            continue
        return "edited"
    raise last


def _comments(github: GitHub, pull: int, gate: str, writer: str) -> list[tuple[int, Run, str]]:
    """The gate's comments, oldest first: id, run, body. What others wrote is none, whatever it holds."""
    found: list[tuple[int, Run, str]] = []
    for comment in github.pages(f"/issues/{pull}/comments", Comment):
        match = _MARKER.match(comment.body)
        if match and match[1] == encoded(gate) and comment.user and comment.user.login == writer:
            found.append((comment.id, (int(match[2]), int(match[3])), comment.body))
    return sorted(found)


def _writer(github: GitHub) -> str:
    """Whose token it is; a workflow's own token may not ask."""
    try:
        return github.get("//user", User).login
    except (ForbiddenError, NotFoundError):
        return github.context.login


def _exists(github: GitHub, run: int) -> bool:
    """Whether a run took place. Code that may comment as the gate could name a later one that never will."""
    try:
        return github.get(f"/actions/runs/{run}", WorkflowRun).id == run
    except NotFoundError:
        return False
