"""`gate baseline update`: a run becomes part of the memory."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from gate.baseline import Baseline, SuiteBaseline, accept
from gate.cli.shared import (
    BASELINE,
    REPORT_FILES,
    common,
    complain,
    complain_of,
    console_for,
    head_of,
    read_reports,
    say,
)
from gate.model import Run, SuiteRun
from gate.policy import Policy
from gate.verdict import EXIT_CODES


@click.command()
@REPORT_FILES
@BASELINE
@click.option("--commit", metavar="SHA", help="The commit that was measured (default: as the report says).")
@click.option("--verdict", "verdict_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE", help="Accept only what gate check passed; record what was waived.")  # fmt: skip
@click.option("--run", "source", default="", metavar="ID",
              help="Which run of a workflow measured it; another attempt of it is replaced.")  # fmt: skip
@click.option("--push", "branch", metavar="BRANCH",
              help="Commit to this branch of the remote and push, whatever the work tree holds.")  # fmt: skip
@click.option("--pull-request", "by_pull", is_flag=True,
              help="Where it takes no push: push to gate-baseline/BRANCH, open a pull request.")  # fmt: skip
@click.option(
    "--remote", default="origin", show_default=True, metavar="REMOTE", help="With --push: where to."
)
@common
def update(
    reports: tuple[Path, ...],
    baseline: Path | None,
    commit: str | None,
    verdict_file: Path | None,
    source: str,
    branch: str | None,
    by_pull: bool,
    remote: str,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Accept a run: add it to the baseline of its environment. The same run twice changes nothing."""
    from gate.sources import load_policy
    from gate.store import read_baseline, write_suite

    policy = load_policy(thresholds)
    waived = _passed(verdict_file) if verdict_file else {}
    directory = baseline or thresholds.parent / policy.baseline
    known = Baseline() if branch else read_baseline(directory)
    run = read_reports(reports, policy, thresholds, (), head=commit)
    _refuse_unusable(run, policy)
    accepted = [
        _Accepted(suite, _measured(suite, commit, thresholds), waived.get(suite.name, ()))
        for suite in run.suites.values()
    ]
    console = console_for(no_color)
    if branch:
        root = thresholds.absolute().parent
        target = _Target(root, directory, branch, remote)
        say_all = _push(accepted, target, source, by_pull=by_pull)
        for line in () if quiet else say_all:
            say(line, console)
        return
    for one in accepted:
        updated = one.added_to(known, source)
        path = write_suite(directory, updated)
        if not quiet:
            say(f"{one.line(updated)} in {path}", console)


@dataclass(frozen=True)
class _Accepted:
    """One suite of a run that is accepted."""

    suite: SuiteRun
    commit: str
    waived: tuple[str, ...]

    def added_to(self, known: Baseline, source: str) -> SuiteBaseline:
        """What is remembered of the suite with this run."""
        before = known.held(self.suite.name, self.suite.environment)
        return accept(before, self.suite, self.commit, waived=self.waived, source=source)

    def line(self, updated: SuiteBaseline) -> str:
        """What is said of it."""
        failed = sum(test.failed for test in self.suite.tests.values())
        tail = f", {failed} known failures" if failed else ""
        what = f"{self.suite.name}: accepted {self.commit[:12]}"
        return f"{what} on {self.figures}{tail}; {len(updated.runs)} runs"

    @property
    def figures(self) -> str:
        """Environment and amounts."""
        suite = self.suite
        return f"{suite.environment.id}: {len(suite.metrics)} metrics, {len(suite.tests)} tests"


def _refuse_unusable(run: Run, policy: Policy) -> None:
    """End the command if a run is damaged or measured nothing."""
    from gate.judge.loads import judge_loads

    complain_of(run.problems)
    invalid = [
        f for suite in run.suites.values() for f in judge_loads(suite, policy).findings if f.level == "fail"
    ]
    complain_of(() if run.problems else invalid)
    if run.problems or invalid:
        complain("nothing was accepted")
        sys.exit(EXIT_CODES["error" if run.problems else "inconclusive"])


def _measured(suite: SuiteRun, commit: str | None, thresholds: Path) -> str:
    measured = commit or suite.commit or head_of(thresholds)
    if not measured:
        raise click.UsageError(f"{suite.source} does not say which commit it measured; add --commit SHA")
    return measured


@dataclass(frozen=True)
class _Target:
    """Where accepted runs are pushed to."""

    root: Path
    directory: Path
    branch: str
    remote: str


def _push(accepted: list[_Accepted], target: _Target, source: str, *, by_pull: bool) -> list[str]:
    """Push accepted runs; what is to be said of it."""
    from gate.publish import RefusedError, publish

    commits = ", ".join(dict.fromkeys(one.commit[:12] for one in accepted))
    title = f"chore(baseline): accept {commits}"
    figures = "\n".join(
        "\n".join((f"{one.suite.name} on {one.figures}", *(f"waived: {text}" for text in one.waived)))
        for one in accepted
    )

    def add(known: Baseline) -> tuple[SuiteBaseline, ...]:
        return tuple(one.added_to(known, source) for one in accepted)

    send = partial(publish, target.root, target.directory, update=add, remote=target.remote)
    try:
        done = send(target.branch, message=f"{title} [skip ci]\n\n{figures}")
        where = target.branch
    except RefusedError as error:
        if not by_pull:
            complain(
                f"{target.remote} takes no push to {target.branch}: {error}; let who pushes bypass the rule,"
            )
            complain("or let a pull request bring the runs: --pull-request")
            sys.exit(EXIT_CODES["failed"])
        where = f"gate-baseline/{target.branch}"
        done = send(where, message=f"{title}\n\n{figures}", onto=target.branch)
        where = f"{where}, pull request #{_pull(where, target.branch, title, figures)}"
    lines = [one.line(updated) for one, updated in zip(accepted, done.suites, strict=True)]
    return [*lines, f"pushed {done.commit[:12]} to {where}" if done.commit else f"{where} holds it already"]


def _pull(head: str, base: str, title: str, figures: str) -> int:
    """Open the pull request that brings the runs of a branch."""
    from gate.github.client import GitHub
    from gate.github.context import ContextError, context_from
    from gate.github.errors import GitHubError
    from gate.github.pulls import open_pull

    try:
        with GitHub(context_from(os.environ)) as github:
            return open_pull(github, head, base, title, f"Accepted runs.\n\n```\n{figures}\n```\n")
    except (ContextError, GitHubError) as error:
        complain(f"{head} is pushed, but no pull request was opened: {error}")
        sys.exit(EXIT_CODES["error"])


def _passed(file: Path) -> dict[str, tuple[str, ...]]:
    """What a verdict that passed says was waived, by suite; one that did not pass ends the command."""
    from gate.verdict import read_verdict

    try:
        verdict = read_verdict(file.read_bytes())
    except ValueError as error:
        raise click.UsageError(f"--verdict {file}: {error}") from None
    if verdict.verdict != "passed":
        complain(f"the verdict is {verdict.verdict}: nothing was accepted")
        sys.exit(verdict.exit_code)
    waived: dict[str, tuple[str, ...]] = {}
    for finding in verdict.findings:
        if finding.state == "waived":
            reason = finding.message.rpartition("; waived by ")[2]
            waived[finding.suite] = (*waived.get(finding.suite, ()), f"{finding.subject}: {reason}")
    return waived
