"""`gate baseline`: the accepted runs that new runs are compared with."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gate.cli.shared import BASELINE, REPORT_FILES, common, complain, console_for, head_of, read_reports
from gate.verdict import EXIT_CODES


@click.group()
def baseline() -> None:
    """The accepted runs that new runs are compared with."""


@baseline.command()
@REPORT_FILES
@BASELINE
@click.option("--commit", metavar="SHA", help="The commit that was measured (default: as the report says).")
@click.option("--verdict", "verdict_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE", help="Accept only what gate check passed; record what was waived.")  # fmt: skip
@common
def update(
    reports: tuple[Path, ...],
    baseline: Path | None,
    commit: str | None,
    verdict_file: Path | None,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Accept a run: add it to the baseline of its environment. The same run twice changes nothing."""
    from gate.baseline import accept, read_baseline, write_suite
    from gate.judge.loads import judge_loads
    from gate.sources import load_policy

    policy = load_policy(thresholds)
    waived = _passed(verdict_file) if verdict_file else {}
    directory = baseline or thresholds.parent / policy.baseline
    known = read_baseline(directory)
    run = read_reports(reports, policy, thresholds, (), head=commit)
    console = console_for(no_color)
    if run.problems:
        for problem in run.problems:
            complain(f"{problem.subject}: {problem.message}; {problem.remedy}")
        complain("nothing was accepted")
        sys.exit(EXIT_CODES["error"])
    invalid = [
        f for suite in run.suites.values() for f in judge_loads(suite, policy).findings if f.level == "fail"
    ]
    if invalid:
        for finding in invalid:
            complain(f"{finding.subject}: {finding.message}; {finding.remedy}")
        complain("nothing was accepted")
        sys.exit(EXIT_CODES["inconclusive"])
    for suite in run.suites.values():
        measured = commit or suite.commit or head_of(thresholds)
        if not measured:
            raise click.UsageError(f"{suite.source} does not say which commit it measured; add --commit SHA")
        before = known.comparable(suite.name, suite.environment)
        updated = accept(before, suite, measured, waived=waived.get(suite.name, ()))
        path = write_suite(directory, updated)
        if not quiet:
            failed = sum(test.failed for test in suite.tests.values())
            tail = f", {failed} known failures" if failed else ""
            console.print(
                f"{suite.name}: accepted {measured[:12]} on {suite.environment.id}: "
                f"{len(suite.metrics)} metrics, {len(suite.tests)} tests{tail}; "
                f"{len(updated.runs)} runs in {path}",
                soft_wrap=True, highlight=False, markup=False,
            )  # fmt: skip


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


@baseline.command("pin")
@click.argument("commit", default="latest", metavar="[COMMIT|latest]")
@click.option(
    "--reason", default="pinned by hand", show_default=True, metavar="TEXT", help="Why: e.g. a release."
)
@BASELINE
@common
def pin_reference(
    commit: str, reason: str, baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Make the accepted runs of a commit the reference that slow creep is measured from.

    Without a pin the first 5 accepted runs are the reference.
    """
    from gate.baseline import pin, read_baseline, write_suite
    from gate.sources import load_policy

    directory = baseline or thresholds.parent / load_policy(thresholds).baseline
    known = read_baseline(directory)
    pinned = [pin(suite, commit, reason.strip() or "pinned by hand") for suite in known.suites]
    if not any(pinned):
        kept = dict.fromkeys(run.commit[:12] for suite in known.suites for run in reversed(suite.runs))
        here = ", ".join(kept) or "no run at all: gate baseline update"
        raise click.UsageError(f"no accepted run of {commit!r}, or several commits; {directory} keeps {here}")
    for before, suite in zip(known.suites, pinned, strict=True):
        if suite is None:
            where = f"{before.suite} on {before.environment.id}"
            complain(f"{where}: has no run of {commit}; its reference stays")
            continue
        path = write_suite(directory, suite)
        if not quiet:
            level = suite.pins[0]
            console_for(no_color).print(
                f"{suite.suite}: pinned {level.commit[:12]} of {level.created[:10]} on "
                f"{suite.environment.id} ({level.reason}): "
                f"{len(level.values)} metrics over {level.runs} runs in {path}",
                soft_wrap=True, highlight=False, markup=False,
            )  # fmt: skip


@baseline.command()
@click.argument("pattern", required=False)
@BASELINE
@common
def show(pattern: str | None, baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Show what the baseline holds; with PATTERN the metrics that match it, with their noise."""
    from gate.baseline import read_baseline
    from gate.report.memory import print_baseline, print_metrics
    from gate.sources import load_policy

    directory = baseline or thresholds.parent / load_policy(thresholds).baseline
    known = read_baseline(directory)
    console = console_for(no_color)
    if pattern is None:
        print_baseline(known, directory, console, quiet=quiet)
    elif not print_metrics(known, pattern, console):
        raise click.UsageError(f"no metric of the baseline in {directory} matches {pattern!r}")
