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
from gate.github.context import ContextError, queued_pull
from gate.github.nouns import ChangedFile, Pull, WorkflowRun
from gate.github.waivers import find_waivers, runs_of
from gate.policy import Policy
from gate.verdict import EXIT_CODES, Finding, Verdict, decide, in_reading_order, unusable
from gate.waivers import Waivers, permission_for

_MOST_FILES: Final = 3000
"""GitHub lists no more files of a pull request."""
_WAITING: Final = frozenset({"stale", "action_required", None})
"""Conclusions of a run that did not begin: it waits for an approval."""


@dataclass(frozen=True)
class Told:
    """What is to be told, and where."""

    pull: int
    """0: a group of the merge queue, which has a check and no comment."""
    commit: str
    verdict: Verdict
    run: int
    attempt: int


class NothingToTellError(Exception):
    """The run is not about an open pull request as it is now; the message says why."""


def told(github: GitHub, policy: Policy, rules: str, gate: str, workflow: str) -> Told:
    """The verdict of the workflow run that has ended.

    Args:
        github: the connection; the event of its context is `workflow_run`.
        policy: the rules of the default branch.
        rules: the path of their file.
        gate: whose verdict.
        workflow: the file of the workflow that judges.

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
    if run.conclusion in _WAITING:
        raise NothingToTellError(f"the run ended as {run.conclusion}")
    if run.event == "merge_group":
        number, files = 0, list[ChangedFile]()
        asked, head = queued_pull(run.head_branch or ""), ""
    elif run.event == "pull_request":
        pulls = _pulls_of(github, run, owner)
        number = asked = pulls[0].number
        files, head = list(github.pages(f"/pulls/{number}/files", ChangedFile)), run.head_sha
        if run.conclusion == "cancelled" and _replaced_by_another(github, run):
            raise NothingToTellError("the run was cancelled, and a younger one judges the same commit")
        if len(pulls) > 1:
            others = ", ".join(f"#{pull.number}" for pull in pulls)
            reason = (
                f"{others} have the same head commit: which one was judged is not known; close all but one"
            )
            return Told(number, run.head_sha, unusable(reason, run.head_sha), run.id, run.run_attempt)
    else:
        raise NothingToTellError(f"the run was started by {run.event}, not by a pull request")
    try:
        verdict = _left(github, run, gate, workflow)
    except HostileError as error:
        verdict = unusable(str(error), run.head_sha)
    verdict = _with_rules(verdict, policy, files, rules)
    if any(finding.state == "waived" for finding in verdict.findings):
        known = Waivers(run.head_sha)
        if asked:
            known = find_waivers(
                github, asked, self_waivers=policy.self_waivers, head=head, workflow=workflow
            )
        verdict = _with_waivers(verdict, known)
    return Told(number, run.head_sha, verdict, run.id, run.run_attempt)


def _left(github: GitHub, run: WorkflowRun, gate: str, workflow: str) -> Verdict:
    """The verdict of a run, if it is one of the workflow that judges and ended like its verdict."""
    if not run.is_of(workflow):
        raise HostileError(f"the run is one of {run.path}, not of {workflow}")
    verdict = fetch_verdict(github, run.id, gate)
    if (verdict.verdict == "passed") != (run.conclusion == "success"):
        raise HostileError(f"the verdict says {verdict.verdict}, and the run ended as {run.conclusion}")
    return verdict


def _pulls_of(github: GitHub, run: WorkflowRun, owner: str) -> list[Pull]:
    """The open pull requests whose head the run measured. The event names none for a fork."""
    found = [
        pull
        for pull in github.pages("/pulls", Pull, state="open", head=f"{owner}:{run.head_branch}")
        if pull.head.sha == run.head_sha
    ]
    if not found:
        raise NothingToTellError(
            "no open pull request has this commit as its head; it moved on, or is closed"
        )
    return found


def _replaced_by_another(github: GitHub, run: WorkflowRun) -> bool:
    """Whether a younger run of the same workflow and commit exists. Else a cancelled one is the last word."""
    return any(other.id > run.id and other.is_of(run.path) for other in runs_of(github, run.head_sha))


def _with_rules(verdict: Verdict, policy: Policy, files: Sequence[ChangedFile], rules: str) -> Verdict:
    """Name what the pull request changes about how it is judged, whether its own run said so or not."""
    said = {
        finding.subject
        for finding in verdict.findings
        if finding.kind == "policy-change" and finding.level != "info"
    }
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
        if finding.state == "waived" and not permission_for(finding, known.granted):
            message = f"{finding.message}; no such waiver counts for this commit"
            findings.append(msgspec.structs.replace(finding, level="fail", state="suspect", message=message))
        else:
            findings.append(finding)
    return _replaced(verdict, findings)


def _replaced(verdict: Verdict, findings: list[Finding]) -> Verdict:
    ordered = in_reading_order(findings)
    word = verdict.verdict if verdict.verdict != "passed" else decide(ordered)
    return msgspec.structs.replace(verdict, findings=ordered, verdict=word, exit_code=EXIT_CODES[word])
