"""The check run of a verdict: its conclusion, its summary, annotations at the lines that failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gate.github.client import GitHub
from gate.github.nouns import CheckRun
from gate.report.annotations import Annotation
from gate.verdict import VerdictWord

_PER_REQUEST: Final = 50
_MOST: Final = 500
"""Annotations; nobody reads more."""
_CONCLUSIONS: Final[dict[VerdictWord, str]] = {
    "passed": "success",
    "failed": "failure",
    "inconclusive": "failure",
    "error": "failure",
}


@dataclass(frozen=True)
class Check:
    """What a check says of a commit."""

    name: str
    commit: str
    """The head of the pull request."""
    verdict: VerdictWord
    title: str
    summary: str
    """Markdown, at most 65,535 characters."""
    annotations: Sequence[Annotation] = ()


def write_check(github: GitHub, check: Check) -> None:
    """Create the check run of a commit, with all its annotations.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    shown = [msgspec.to_builtins(annotation) for annotation in check.annotations[:_MOST]]
    output: dict[str, Any] = {"title": check.title[:250], "summary": check.summary}
    body: dict[str, Any] = {
        "name": check.name,
        "head_sha": check.commit,
        "external_id": f"{github.context.run_id}.{github.context.attempt}",
        "status": "completed",
        "conclusion": _CONCLUSIONS[check.verdict],
        "output": output | {"annotations": shown[:_PER_REQUEST]},
    }
    if url := github.context.url_of(github.context.run_id):
        body["details_url"] = url
    created = github.create_once("/check-runs", body, CheckRun, lambda: _written(github, body))
    for begin in range(_PER_REQUEST, len(shown), _PER_REQUEST):
        more = {"output": output | {"annotations": shown[begin : begin + _PER_REQUEST]}}
        github.change(f"/check-runs/{created.id}", more)


def _written(github: GitHub, body: dict[str, Any]) -> CheckRun | None:
    """The check run that this workflow run has created already."""
    listed = f"/commits/{body['head_sha']}/check-runs"
    checks = github.pages(listed, CheckRun, "check_runs", check_name=body["name"])
    return next((check for check in checks if check.external_id == body["external_id"]), None)
