"""`gate baseline rebuild`: a new memory in place of the old one."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gate.baseline import EVERYTHING, Permission
from gate.baseline.records import SuiteRecords
from gate.cli.pushing import BY, REASON, Message, Target, permission_of, push, pushing
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
    from gate.baseline.files import alone, read_baseline, write_suite
    from gate.baseline.records import Memory, removed_before, replaced
    from gate.pipeline.load import load_policy
    from gate.publish import Update

    policy, permission = load_policy(thresholds), permission_of(reason, by, thresholds)
    fresh = Memory(
        tuple(_permitted(suite, permission) for suite in read_baseline(runs).suites if suite.records)
    )
    if not fresh.suites:
        raise click.UsageError(
            f"{runs} holds no accepted runs; measure some: gate calibrate --new-baseline DIR"
        )
    if foreign := [suite.suite for suite in fresh.suites if suite.suite not in policy.suites]:
        known = ", ".join(policy.suites)
        raise click.UsageError(f"{runs} holds runs of suite {foreign[0]!r}; {thresholds.name} has: {known}")
    directory = baseline_directory(baseline, thresholds, policy, writes=not branch)
    lines = [
        f"{suite.suite}: begun anew on {suite.environment.id} with {len(suite.records)} runs of "
        f"{suite.records[-1].commit[:12]}"
        for suite in fresh.suites
    ]

    def begin_anew(known: Memory) -> Memory:
        if gone := removed_before(known, fresh):
            raise click.UsageError(
                f"{runs} holds a run of {gone.commit[:12]} that was removed before ({gone.reason}); nothing "
                "was changed; measure again: gate calibrate --new-baseline DIR"
            )
        return replaced(known, fresh, permission.why)

    if branch:
        measured = list(dict.fromkeys(run.commit for suite in fresh.suites for run in suite.records))
        commits = ", ".join(commit[:12] for commit in measured)
        figures = "\n".join((*lines, f"rebuilt by {permission.by}: {permission.why}"))
        target = Target(directory, policy.baseline_branch or branch, remote, thresholds)

        def update(known: Memory, _rules: bytes | None) -> Update:
            return Update(begin_anew(known), figures=figures)

        message = Message(f"chore(baseline): rebuild from runs of {commits}", measured)
        lines.append(push(target, message, update, by_pull=by_pull)[1])
    else:
        with alone(directory):
            for suite in begin_anew(read_baseline(directory)).suites:
                write_suite(directory, suite)
    for line in () if quiet else lines:
        say(line, console_for(no_color))


def _permitted(suite: SuiteRecords, permission: Permission) -> SuiteRecords:
    """The suite with a note of who began it anew, and why."""
    first, *others = suite.records
    note = (msgspec.structs.replace(permission, subject=EVERYTHING),)
    return msgspec.structs.replace(suite, records=(msgspec.structs.replace(first, waived=note), *others))
