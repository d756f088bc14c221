"""What a run of the default branch has left for the memory: whose turn it is, its verdict, its reports."""

from pathlib import Path
from typing import Final

from gate.github.artifacts import HostileError, fetch_files, left_by
from gate.github.client import GitHub
from gate.github.context import Context
from gate.github.errors import GitHubError
from gate.github.names import artifact_of, measured_of
from gate.github.nouns import Artifact, WorkflowRun

WISH: Final = "update-baseline"
"""A file beside the verdict of a run that was started by hand: it was asked to update the baseline."""
_LEARNS: Final = {"push", "workflow_dispatch"}
_ENDED: Final = {"success", "failure"}


class NothingToLearnError(Exception):
    """The run teaches nothing; the message says why."""


def finished(context: Context) -> WorkflowRun:
    """The workflow run that has ended, if it is one that teaches.

    Raises:
        NothingToLearnError: it is another one.
        ContextError: the event is no workflow run.
    """
    run = context.workflow_run("gate baseline learn")
    if run.event not in _LEARNS:
        raise NothingToLearnError(
            f"runs started by {run.event} are not accepted, only those by push and workflow_dispatch"
        )
    owner = run.head_repository.full_name if run.head_repository else "a repository that was deleted"
    if owner != context.repository or run.head_branch != context.default_branch:
        wanted = f"branch {context.default_branch!r} of {context.repository}"
        raise NothingToLearnError(f"the run is on branch {run.head_branch!r} of {owner}, not on {wanted}")
    if run.conclusion not in _ENDED:
        raise NothingToLearnError(f"the run ended as {run.conclusion}")
    return run


def left_by_gate(github: GitHub, run: WorkflowRun, gate: str, directory: Path) -> None:
    """Fetch verdict and reports of a gate: DIRECTORY/verdict.json, and a folder for each job that measured.

    Raises:
        NothingToLearnError: the gate did not judge, or nobody asked for it.
        GitHubError: GitHub refused, could not be reached in time, or what was left is damaged.
    """
    left = left_by(github, run.id)
    if not (verdict := left.get(artifact_of(gate))):
        why = f"the run left no artifact {artifact_of(gate)!r}"
        if run.conclusion == "success":
            raise GitHubError(f"{why}; does the workflow run a gate of this name?")
        raise NothingToLearnError(f"{why}, so it was not judged")
    _fetch(github, verdict, directory)
    if run.event == "workflow_dispatch" and not (directory / WISH).exists():
        raise NothingToLearnError("nobody asked this run to update the baseline")
    reports = [artifact for name, artifact in left.items() if name.startswith(measured_of(gate))]
    if not reports:
        raise GitHubError(f"the run left no artifact {measured_of(gate)}*")
    for number, artifact in enumerate(reports):
        _fetch(github, artifact, directory / str(number))


def _fetch(github: GitHub, artifact: Artifact, directory: Path) -> None:
    try:
        fetch_files(github, artifact, directory)
    except HostileError as error:
        raise GitHubError(f"artifact {artifact.name!r}: {error}") from None
