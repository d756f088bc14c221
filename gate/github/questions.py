"""Whether what a run found may still be told: it is the newest about its pull request as it is now."""

from collections.abc import Iterable
from typing import Final

from gate.github.client import GitHub
from gate.github.nouns import IssueEvent, Pull, WorkflowRun

_REBASED: Final = frozenset({"base_ref_changed", "automatic_base_change_succeeded"})
"""Events after which a pull request is for another branch."""


_WAITING: Final = {"action_required", "stale"}
"""What becomes of a run that nobody approves: it judges nothing."""


def pulls_with(github: GitHub, commit: str) -> list[Pull]:
    """The open pull requests with a head commit, of any branch and any fork.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    return [pull for pull in github.pages("/pulls", Pull, state="open") if pull.head.sha == commit]


def asked_otherwise(github: GitHub, pull: Pull, others: Iterable[Pull]) -> str:
    """Why no answer counts for pull requests with one head commit and other rules; empty: the same rules.

    A check belongs to the commit, and so to all of them. Of one that was for another branch before, nobody
    knows for which branch it was judged.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    differ = [
        other.number
        for other in others
        if other.number != pull.number
        and (other.base.ref != pull.base.ref or base_changed(github, other.number))
    ]
    if not differ:
        return ""
    named = ", ".join(f"#{number}" for number in sorted({pull.number, *differ}))
    return f"{named} have the same head commit and other base branches, and share its checks; push to one"


def runs_of(github: GitHub, pull: Pull, workflow: str = "") -> list[WorkflowRun]:
    """The runs of a workflow for a pull request with its head commit; without a workflow those of any.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    head = pull.head
    runs = github.pages(
        "/actions/runs", WorkflowRun, "workflow_runs", head_sha=head.sha, event="pull_request"
    )
    return [
        run
        for run in runs
        if run.head_sha == head.sha
        and not {run.conclusion, run.status} & _WAITING
        and (not workflow or run.is_of(workflow))
        and (not run.source or not head.label or run.source == head.label)
    ]


def newer_run(github: GitHub, pull: Pull, run: int, workflow: str = "") -> int:
    """The newest run that began after another one and judges the same; 0: there is none.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    newest = max((one.id for one in runs_of(github, pull, workflow)), default=0)
    return newest if newest > run else 0


def base_changed(github: GitHub, pull: int) -> str:
    """When a pull request was given another base branch, last; empty: never. UTC, which sorts by time.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    events = github.pages(f"/issues/{pull}/events", IssueEvent)
    return max((event.created_at for event in events if event.event in _REBASED), default="")


def outdated(github: GitHub, pull: Pull) -> str:
    """Why the run of this job may not be told as a result; empty: its question still stands.

    Args:
        github: the connection; its context is the job's.
        pull: the pull request as it is now.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    context = github.context
    if context.base_branch not in {"", pull.base.ref}:
        was, wanted = context.base_branch, pull.base.ref
        return f"this run is for base branch {was}, and #{pull.number} is now for {wanted}"
    if pull.state != "open":
        return f"#{pull.number} is closed; open it again, or push to another one"
    if shared := asked_otherwise(github, pull, pulls_with(github, pull.head.sha)):
        return shared
    newer = newer_run(github, pull, context.run_id, context.workflow) if context.workflow else 0
    return f"run {newer} is newer and judges the same commit" if newer else ""
