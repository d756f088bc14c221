"""The check run of a verdict: its conclusion, its summary, annotations at the lines that failed.

GitHub shows the check that was created last. It may only tell of the youngest run: who has an older answer
writes none, and who was overtaken while it wrote repeats what the younger one says.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from gate.github.client import GitHub
from gate.github.comments import Run, took_place
from gate.github.nouns import CheckRun
from gate.report.annotations import Annotation
from gate.verdict import VerdictWord

Outcome = Literal["created", "superseded"]
"""What became of the check; superseded: a younger run has spoken."""

_PER_REQUEST: Final = 50
_MOST: Final = 500
"""Annotations; nobody reads more."""
_CONCLUSIONS: Final[dict[VerdictWord, str]] = {
    "passed": "success",
    "failed": "failure",
    "inconclusive": "failure",
    "error": "failure",
}
_ABOUT: Final = re.compile(r"(\d{1,18})\.(\d{1,9}) told by \d+\.\d+")


@dataclass(frozen=True)
class Check:
    """What a check says of a commit."""

    name: str
    commit: str
    """The head of the pull request."""
    run: Run
    """Which run it tells of."""
    verdict: VerdictWord
    title: str
    summary: str
    """Markdown, at most 65,535 characters."""
    annotations: Sequence[Annotation] = ()


def write_check(github: GitHub, check: Check) -> Outcome:
    """Create the check run of a commit, with all its annotations, unless a younger run has spoken.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    if _younger(github, check):
        return "superseded"
    shown = [msgspec.to_builtins(annotation) for annotation in check.annotations[:_MOST]]
    output: dict[str, Any] = {"title": check.title[:250], "summary": check.summary}
    told_by = f"{github.context.run_id}.{github.context.attempt}"
    body: dict[str, Any] = {
        "name": check.name,
        "head_sha": check.commit,
        "external_id": f"{check.run[0]}.{check.run[1]} told by {told_by}",
        "status": "completed",
        "conclusion": _CONCLUSIONS[check.verdict],
        "output": output | {"annotations": shown[:_PER_REQUEST]},
    }
    if url := github.context.url_of(check.run[0]):
        body["details_url"] = url

    def written() -> CheckRun | None:
        return next((one for one in _written(github, check) if one.external_id == body["external_id"]), None)

    created = github.create_once("/check-runs", body, CheckRun, written)
    for begin in range(_PER_REQUEST, len(shown), _PER_REQUEST):
        more = {"output": output | {"annotations": shown[begin : begin + _PER_REQUEST]}}
        github.change(f"/check-runs/{created.id}", more)
    if younger := _younger(github, check):
        said = {"title": younger.output.title or check.name, "summary": younger.output.summary or ""}
        same = {"conclusion": younger.conclusion, "external_id": younger.external_id, "output": said}
        github.change(f"/check-runs/{created.id}", same)
        return "superseded"
    return "created"


def _younger(github: GitHub, check: Check) -> CheckRun | None:
    """The check of that name that tells of the youngest run, if that is younger than what is to be told."""
    told = {run: one for one in _written(github, check) if (run := _run_of(one)) > check.run}
    youngest = max(told, default=check.run)
    return told[youngest] if youngest > check.run and took_place(github, youngest[0]) else None


def _written(github: GitHub, check: Check) -> list[CheckRun]:
    """The checks of that name, of that commit, all of them."""
    path = f"/commits/{check.commit}/check-runs"
    return list(github.pages(path, CheckRun, "check_runs", check_name=check.name, filter="all"))


def _run_of(check: CheckRun) -> Run:
    """Which run a check tells of; none, if it is somebody else's."""
    about = _ABOUT.fullmatch(check.external_id or "")
    return (int(about[1]), int(about[2])) if about else (0, 0)
