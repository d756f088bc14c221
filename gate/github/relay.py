"""What a run of foreign code left, told by a workflow that a pull request cannot edit.

Nothing of the pull request is checked out or executed. Its number, its files and its waivers come
from GitHub; the artifact is believed only where it agrees with that, and says at best what the run said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gate.github.artifacts import HostileError, fetch_verdict
from gate.github.client import GitHub
from gate.github.context import ContextError
from gate.github.nouns import ChangedFile, Pull, WorkflowRun
from gate.github.waivers import find_waivers
from gate.policy import Policy
from gate.verdict import (
    EXIT_CODES,
    SCHEMA,
    Commit,
    EnvironmentSummary,
    Finding,
    Summary,
    TestCounts,
    Verdict,
    decide,
    in_reading_order,
)
from gate.waivers import Waivers, covers

_MOST_FILES: Final = 3000
"""GitHub lists no more files of a pull request."""
_OVER: Final = frozenset({"cancelled", "skipped", "stale", "action_required", None})
"""Conclusions after which there is nothing to tell: the run was replaced, or waits for an approval."""


@dataclass(frozen=True)
class Told:
    """What is to be told, and where."""

    pull: int
    commit: str
    verdict: Verdict
    run: int
    attempt: int


class NothingToTellError(Exception):
    """The run is not about an open pull request as it is now; the message says why."""


def told(github: GitHub, policy: Policy, rules: str) -> Told:
    """The verdict of the workflow run that has ended.

    Args:
        github: the connection; the event of its context is `workflow_run`.
        policy: the rules of the default branch.
        rules: the path of their file.

    Raises:
        NothingToTellError: there is nothing to tell.
        ContextError: the event is another one.
        GitHubError: GitHub refused, or could not be reached in time.
    """
    event = github.context.workflow_run
    try:
        run = msgspec.convert(event, WorkflowRun)
        owner = str(event["head_repository"]["owner"]["login"])
    except (msgspec.ValidationError, KeyError, TypeError):
        raise ContextError(
            "gate relay needs the event of a workflow run; it is for on: workflow_run"
        ) from None
    if run.event != "pull_request":
        raise NothingToTellError(f"the run was started by {run.event}, not by a pull request")
    if run.conclusion in _OVER:
        raise NothingToTellError(f"the run ended as {run.conclusion}")
    pull = _pull_of(github, run, owner)
    try:
        verdict = _agreeing(fetch_verdict(github, run.id), run)
    except HostileError as error:
        verdict = _unusable(str(error), run.head_sha)
    files = list(github.pages(f"/pulls/{pull.number}/files", ChangedFile))
    verdict = _with_rules(verdict, policy, files, rules)
    if any(finding.state == "waived" for finding in verdict.findings):
        known = find_waivers(github, pull.number, self_waivers=policy.self_waivers, head=run.head_sha)
        verdict = _with_waivers(verdict, known)
    return Told(pull.number, run.head_sha, verdict, run.id, run.run_attempt)


def _agreeing(verdict: Verdict, run: WorkflowRun) -> Verdict:
    """The verdict, if the run ended like it."""
    if (verdict.verdict == "passed") != (run.conclusion == "success"):
        raise HostileError(f"the verdict says {verdict.verdict}, and the run ended as {run.conclusion}")
    return verdict


def _pull_of(github: GitHub, run: WorkflowRun, owner: str) -> Pull:
    """The open pull request whose head the run measured. The event names none for a fork."""
    for pull in github.pages("/pulls", Pull, state="open", head=f"{owner}:{run.head_branch}"):
        if pull.head.sha == run.head_sha:
            return pull
    raise NothingToTellError(
        "no open pull request has this commit as its head; it has moved on, or is closed"
    )


def _unusable(reason: str, commit: str) -> Verdict:
    """The verdict where the run left none that can be believed: an error, never silence."""
    finding = Finding(
        kind="report-error",
        level="fail",
        subject="verdict.json",
        message=reason,
        remedy="read the log of the run, and run it again",
    )
    return Verdict(
        schema=SCHEMA,
        verdict="error",
        exit_code=EXIT_CODES["error"],
        head=Commit(commit),
        base=Commit(""),
        policy="",
        environment=EnvironmentSummary("", 0),
        suites=(),
        summary=Summary(tests=TestCounts(0, 0, 0), metrics=0, compared=0, fail=1, warn=0),
        findings=(finding,),
    )


def _with_rules(verdict: Verdict, policy: Policy, files: Sequence[ChangedFile], rules: str) -> Verdict:
    """Name what the pull request changes about how it is judged, whether its own run said so or not."""
    said = {finding.subject for finding in verdict.findings if finding.kind == "policy-change"}
    changes = [
        Finding(
            kind="policy-change",
            level="warn",
            subject=name,
            message="decides how this is judged, and this pull request changes it",
        )
        for name in dict.fromkeys(name for file in files for name in (file.filename, file.previous_filename))
        if name and name not in said and policy.protects(name, rules)
    ]
    if len(files) >= _MOST_FILES:
        message = f"there are more than GitHub lists ({_MOST_FILES:,}): the rules may be among them"
        changes.append(Finding(kind="policy-change", level="warn", subject="changed files", message=message))
    return _replaced(verdict, [*verdict.findings, *changes]) if changes else verdict


def _with_waivers(verdict: Verdict, known: Waivers) -> Verdict:
    """What the artifact calls waived fails, unless GitHub knows the waiver."""
    findings: list[Finding] = []
    for finding in verdict.findings:
        if finding.state == "waived" and not any(covers(waiver, finding) for waiver in known.granted):
            message = f"{finding.message}; no such waiver counts for this commit"
            findings.append(msgspec.structs.replace(finding, level="fail", state="suspect", message=message))
        else:
            findings.append(finding)
    return _replaced(verdict, findings)


def _replaced(verdict: Verdict, findings: list[Finding]) -> Verdict:
    ordered = in_reading_order(findings)
    word = verdict.verdict if verdict.verdict != "passed" else decide(ordered)
    return msgspec.structs.replace(verdict, findings=ordered, verdict=word, exit_code=EXIT_CODES[word])
