"""The one comment of a gate on a pull request: found again by a hidden line, edited in place.

Two runs may write at once, and a write may take place though its answer is lost. So whoever wrote looks
once more: of several comments the oldest stays, and the youngest run has the last word in it. Of two jobs
that speak as one gate in the same attempt of a run, the worse verdict stays.
"""

import re
from typing import Final, Literal, NamedTuple

from gate.github.client import GitHub
from gate.github.errors import ForbiddenError, GitHubError, NotFoundError, UncertainError
from gate.github.names import key_of
from gate.github.nouns import Comment, User, WorkflowRun
from gate.report.markdown import code
from gate.verdict import VerdictWord

Outcome = Literal["created", "edited", "unchanged", "superseded", "unneeded", "shared"]
"""What became of the comment.

- superseded: a younger run has spoken.
- unneeded: there was none, and no need.
- shared: another job of this run speaks under the same name, and its verdict is as bad or worse.
"""

_ATTEMPTS: Final = 4
_MARKER: Final = re.compile(r"<!-- regression-gate: (\S+) run (\d+)\.(\d+)(?: (\w+))? -->")
_WORSE: Final[dict[str, int]] = {"passed": 0, "inconclusive": 1, "failed": 2, "error": 3}

Run = tuple[int, int]
"""A workflow run and its attempt; a younger one is greater."""


class _Known(NamedTuple):
    """A comment that is there."""

    id: int
    run: Run
    verdict: str
    """Empty: it does not say."""
    body: str


def marker(gate: str, run: Run, verdict: VerdictWord) -> str:
    """The hidden first line of a comment: whose it is, which run it tells of, and how that ended."""
    return f"<!-- regression-gate: {key_of(gate)} run {run[0]}.{run[1]} {verdict} -->"


def write_comment(
    github: GitHub, pull: int, gate: str, run: Run, text: str, *,
    verdict: VerdictWord, needed: bool = True, alone: bool = False,
) -> Outcome:  # fmt: skip
    """Create or edit the gate's comment on a pull request.

    Args:
        github: the connection.
        pull: the number of the pull request.
        gate: which gate of the repository speaks.
        run: which run it tells of.
        text: what it says.
        verdict: the same in one word.
        needed: whether to create a comment if there is none yet.
        alone: nobody else speaks of this run as this gate, so what is there is an earlier word of its own.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    body = f"{marker(gate, run, verdict)}\n{text}"
    writer = _writer(github)
    created = False
    last = GitHubError("the comment was deleted again and again while it was written; run the job again")
    for _ in range(_ATTEMPTS):
        found = _comments(github, pull, gate, writer)
        if not found and not needed:
            return "unneeded"
        try:
            if not found:
                github.create(f"/issues/{pull}/comments", {"body": body}, Comment)
                created = True
                continue  # look whether another run did the same
            kept = found[0]
            for other in found[1:]:
                github.delete(f"/issues/comments/{other.id}")
            if kept.run > run and took_place(github, kept.run[0]):
                return "superseded"
            if kept.body == body:
                return "created" if created else "unchanged"
            if kept.run == run and kept.verdict and not alone:
                worse = _WORSE[verdict] > _WORSE.get(kept.verdict, 0)
                shared = _shared(body if worse else kept.body, gate)
                if shared != kept.body:
                    github.change(f"/issues/comments/{kept.id}", {"body": shared})
                return "edited" if worse else "shared"
            github.change(f"/issues/comments/{kept.id}", {"body": body})
        except (UncertainError, NotFoundError) as error:  # it may be there, or may be gone: look again
            last = error
            created |= isinstance(error, UncertainError)
            continue
        return "edited"
    raise last


def took_place(github: GitHub, run: int) -> bool:
    """Whether a run took place. Code that may write as the gate could name a later one that never will.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    try:
        return github.get(f"/actions/runs/{run}", WorkflowRun).id == run
    except NotFoundError:
        return False


def _shared(body: str, gate: str) -> str:
    """A comment that says that it is one of two."""
    line = (
        f"> Two jobs of this run speak as gate {code(gate)}; this is the worse verdict. Give each job a name "
        "of its own: input `gate`, or `gate comment --gate NAME`."
    )
    return body if line in body else f"{body.rstrip()}\n\n{line}\n"


def _comments(github: GitHub, pull: int, gate: str, writer: str) -> list[_Known]:
    """The gate's comments, oldest first. What others wrote is none, whatever it holds."""
    found: list[_Known] = []
    for comment in github.pages(f"/issues/{pull}/comments", Comment):
        match = _MARKER.match(comment.body)
        if match and match[1] == key_of(gate) and comment.user and comment.user.login == writer:
            run = (int(match[2]), int(match[3]))
            found.append(_Known(comment.id, run, match[4] or "", comment.body))
    return sorted(found)


def _writer(github: GitHub) -> str:
    """Whose token it is; a workflow's own token may not ask."""
    try:
        return github.get("//user", User).login
    except (ForbiddenError, NotFoundError):
        return github.context.login
