"""`gate baseline rebuild`: a new memory in place of the old one."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gate.baseline import Baseline, SuiteBaseline
from gate.cli.pushing import BY, REASON, Message, Permission, Target, permission_of, push, pushing
from gate.cli.shared import BASELINE, baseline_directory, common, console_for, say


@click.command()
@click.argument("runs", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@REASON
@BY
@BASELINE
@pushing
@common
def rebuild(
    runs: Path,
    reason: str,
    by: str | None,
    baseline: Path | None,
    branch: str | None,
    by_pull: bool,
    remote: str,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Put the runs in DIR in place of what is remembered of their suites and environments.

    DIR is what gate calibrate --new-baseline wrote. Other suites and environments stay as they are.
    """
    from gate.pipeline.load import load_policy
    from gate.publish import Update
    from gate.store import read_baseline, write_suite

    policy, permission = load_policy(thresholds), permission_of(reason, by, thresholds)
    fresh = tuple(_permitted(suite, permission) for suite in read_baseline(runs).suites if suite.runs)
    if not fresh:
        raise click.UsageError(
            f"{runs} holds no accepted runs; measure some: gate calibrate --new-baseline DIR"
        )
    directory = baseline_directory(baseline, thresholds, policy, writes=not branch)
    lines = [
        f"{suite.suite}: begun anew on {suite.environment.id} with {len(suite.runs)} runs of "
        f"{suite.runs[-1].commit[:12]}"
        for suite in fresh
    ]
    if branch:
        measured = list(dict.fromkeys(run.commit for suite in fresh for run in suite.runs))
        commits = ", ".join(commit[:12] for commit in measured)
        figures = "\n".join((*lines, f"rebuilt by {permission.by}: {permission.reason}"))
        target = Target(directory, policy.baseline_branch or branch, remote, thresholds)

        def replace(_known: Baseline, _rules: bytes | None) -> Update:
            return Update(fresh)

        message = Message(f"chore(baseline): rebuild from runs of {commits}", figures, measured)
        lines.append(push(target, message, replace, by_pull=by_pull)[1])
    else:
        for suite in fresh:
            write_suite(directory, suite)
    for line in () if quiet else lines:
        say(line, console_for(no_color))


def _permitted(suite: SuiteBaseline, permission: Permission) -> SuiteBaseline:
    """The suite with a note of who began it anew, and why."""
    first, *others = suite.runs
    note = (f"run: {permission.by}: {permission.reason}",)
    return msgspec.structs.replace(suite, runs=(msgspec.structs.replace(first, waived=note), *others))
