"""What a run of foreign code left, told by a workflow that a pull request cannot edit.

Nothing of the pull request is checked out or executed. Its number, its files and its waivers come
from GitHub; the artifact is believed only where it agrees with that, and says at best what the run said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gate.github.artifacts import HostileError, fetch_verdict
from gate.github.client import GitHub
from gate.github.context import Context, queued_pull
from gate.github.errors import GitHubError
from gate.github.names import DEFAULT
from gate.github.nouns import ChangedFile, Job, Pull, WorkflowRun
from gate.github.questions import asked_otherwise, base_changed, newer_run, pulls_with
from gate.github.waivers import find_waivers
from gate.policy import Policy
from gate.verdict import EXIT_CODES, Finding, Verdict, decide, in_reading_order, unusable
from gate.waivers import Waivers, permission_for

_MOST_FILES: Final = 3000
"""GitHub lists no more files of a pull request."""
_OWN: Final = "regression-gate"
"""What the job that judges is called."""
_OWN_NAME: Final = re.compile(rf"(?:^| / ){_OWN}(?: \(.*\))?$", re.DOTALL)
"""In `caller / job (value, value)` the last part, or the only one."""
_BY_NEWEST: Final = "the next run judges"
_WAITING: Final = frozenset({"stale", "action_required", None})
"""Conclusions of a run that did not begin: it waits for an approval."""


@dataclass(frozen=True)
class Question:
    """What a workflow run was asked: its attempt, the head commit, and the pull request as it is now."""

    run: WorkflowRun
    pull: int
    """0: a group of the merge queue, which has a check and no comment."""
    asked: int
    """The pull request whose waivers count; 0: none."""
    head: str
    """The commit whose waivers count; empty: that of the pull request."""
    files: Sequence[ChangedFile] = ()
    closed: str = ""
    """Why no answer counts, whatever it is; empty: one does."""


class NothingToTellError(Exception):
    """The run is not about an open pull request as it is now; the message says why."""


def ended_run(context: Context) -> WorkflowRun:
    """The run of a pull request or of the merge queue that has ended.

    Raises:
        NothingToTellError: it is another one, or did not begin.
        ContextError: the event is another one.
    """
    run = context.workflow_run("gate relay")
    if run.conclusion in _WAITING:
        raise NothingToTellError(f"the run did not begin ({run.conclusion or 'no conclusion'})")
    if run.event not in {"pull_request", "merge_group"}:
        raise NothingToTellError(f"the run was started by {run.event}, not by a pull request")
    return run


def question(github: GitHub, run: WorkflowRun) -> Question:
    """What a run was asked, and whether its answer still counts.

    Raises:
        NothingToTellError: there is nothing to tell.
        GitHubError: GitHub refused, or could not be reached in time.
    """
    if run.event == "merge_group":
        return Question(run, 0, queued_pull(run.head_branch or ""), "")
    pulls = pulls_with(github, run.head_sha)
    own = [pull for pull in pulls if not run.source or pull.head.label in {"", run.source}]
    if not own:
        raise NothingToTellError(
            "no open pull request has this commit as its head; it moved on, or is closed"
        )
    pull = own[0]
    if newer := newer_run(github, pull, run.id, run.path.partition("@")[0]):
        raise NothingToTellError(f"run {newer} is newer and judges the same commit")
    files = list(github.pages(f"/pulls/{pull.number}/files", ChangedFile))
    # The event does not say which pull request of a branch it was: a closed one can have started the run.
    closed = asked_otherwise(github, pull, [*pulls, *_of_branch(github, run)])
    if base_changed(github, pull.number) > run.created_at:
        closed = "the base branch was changed after this run began; push, or close and open the pull request"
    return Question(run, pull.number, pull.number, run.head_sha, files, closed)


def _of_branch(github: GitHub, run: WorkflowRun) -> list[Pull]:
    """All pull requests of the run's branch with its head commit, the closed ones included."""
    if not run.source:
        return []
    found = github.pages("/pulls", Pull, state="all", head=run.source)
    return [pull for pull in found if pull.head.sha == run.head_sha and pull.head.label in {"", run.source}]


def answer(
    github: GitHub, question: Question, policy: Policy, rules: str, *, gate: str, workflow: str
) -> Verdict:
    """The verdict that a gate left in the run, as far as it can be believed.

    Args:
        github: the connection.
        question: what the run was asked.
        policy: the rules of the default branch.
        rules: the path of their file.
        gate: whose verdict.
        workflow: the file of the workflow that judges.
    """
    if question.closed:
        return unusable(question.closed, question.run.head_sha, remedy=_BY_NEWEST)
    try:
        verdict = _left(github, question.run, gate, workflow)
    except (HostileError, GitHubError) as error:  # else an older check goes on saying what it says
        verdict = unusable(str(error), question.run.head_sha)
    verdict = _with_rules(verdict, policy, question.files, rules)
    if any(finding.state == "waived" for finding in verdict.findings):
        verdict = _with_waivers(verdict, _known_waivers(github, question, policy, workflow))
    return verdict


def _known_waivers(github: GitHub, question: Question, policy: Policy, workflow: str) -> Waivers:
    """The waivers that count; none, if GitHub does not say."""
    none = Waivers(question.run.head_sha)
    if not question.asked:
        return none
    try:
        return find_waivers(
            github, question.asked, self_waivers=policy.self_waivers, head=question.head, workflow=workflow
        )
    except GitHubError:
        return none


def _left(github: GitHub, run: WorkflowRun, gate: str, workflow: str) -> Verdict:
    """The verdict of a run, if it is one of the workflow that judges and its job ended like its verdict."""
    if not run.is_of(workflow):
        raise HostileError(f"the run is one of {run.path}, not of {workflow}")
    jobs = github.pages(f"/actions/runs/{run.id}/attempts/{run.run_attempt}/jobs", Job, "jobs")
    own = _job_of(gate, list(jobs))
    verdict, left_at = fetch_verdict(github, run.id, gate)
    if own and left_at and left_at < own.started_at:
        raise HostileError(f"the job {own.name!r} left no verdict in attempt {run.run_attempt}; read its log")
    ended = own.conclusion if own else run.conclusion
    if (verdict.verdict == "passed") == (ended == "success"):
        return verdict
    if own:
        raise HostileError(f"the verdict says {verdict.verdict}, and the job {own.name!r} ended as {ended}")
    remedy = f"which job is the gate's is not known; call it {_OWN!r}, with the gate's name if there are more"
    raise HostileError(f"the verdict says {verdict.verdict}, and the run ended as {ended}; {remedy}")


def _job_of(gate: str, jobs: Sequence[Job]) -> Job | None:
    """The one job that judged: it is called `regression-gate`, and of several of that name it names the gate.

    None: there is no such job, or it cannot be told apart, so that the whole run has to have passed.
    """
    own = [job for job in jobs if _OWN_NAME.search(job.name)]
    if len(own) > 1:
        plain, named = [job for job in own if job.name == _OWN], [job for job in own if _names(job, gate)]
        own = plain or named if gate == DEFAULT else named or plain
    return own[0] if len(own) == 1 else None


def _names(job: Job, text: str) -> bool:
    """Whether a text is a part of a job's name: `caller (value, value) / job (value, value)`."""
    return bool(re.search(rf"(?:^| / | \(|, ){re.escape(text)}(?:$| / | \(|, |\))", job.name))


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
