"""`gate baseline`: the accepted runs that new runs are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli.accepting import accept_run, learn, update
from gate.cli.rebuilding import rebuild
from gate.cli.shared import (
    BASELINE,
    accepted_runs,
    baseline_directory,
    common,
    complain,
    console_for,
    content_of,
    remembered_runs,
    say,
)
from gate.units import amount

if TYPE_CHECKING:
    from rich.console import Console

    from gate.baseline import Baseline


@click.group()
def baseline() -> None:
    """The accepted runs that new runs are compared with."""


baseline.add_command(update)
baseline.add_command(accept_run)
baseline.add_command(learn)
baseline.add_command(rebuild)


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
    """Make the accepted runs of a commit the reference that slow drift is measured from.

    Without a pin the reference of a metric is the median of its first 5 accepted runs. A change that was
    accepted later replaces it by the median of the first 5 runs from there.
    """
    from datetime import UTC, datetime

    from msgspec.structs import replace

    from gate.baseline.expected import pin
    from gate.baseline.files import alone, read_baseline, write_suite
    from gate.pipeline.load import expected_at, load_policy

    directory = baseline_directory(baseline, thresholds, load_policy(thresholds))
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    with alone(directory):
        memory = read_baseline(directory)
        known = expected_at(memory, thresholds.absolute().parent)
        levels = [pin(suite, commit, reason.strip() or "pinned by hand", now) for suite in known.suites]
        if not any(levels):
            raise click.UsageError(
                f"{commit!r} names no single accepted commit; {_commits_in(known, directory)}"
            )
        for before, level in zip(known.suites, levels, strict=True):
            where = f"{before.suite} on {before.environment.id}"
            kept = memory.of(before.suite, before.environment)
            if level is None or kept is None:
                complain(f"{where}: no single accepted commit {commit}; its reference is unchanged")
                continue
            path = write_suite(directory, replace(kept, pins=(*kept.pins, level)))
            if quiet:
                continue
            console_for(no_color).print(
                f"{before.suite}: pinned {level.commit[:12]} of {level.created[:10]} on "
                f"{before.environment.id} ({level.reason}): "
                f"{sum(map(len, level.groups.values()))} metrics over {level.runs} runs in {path}",
                soft_wrap=True, highlight=False, markup=False,
            )  # fmt: skip


@baseline.command()
@click.argument("pattern", required=False)
@BASELINE
@common
def show(pattern: str | None, baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Show the accepted runs; with PATTERN, matching metrics and the smallest change that is detectable."""
    from gate.pipeline.load import load_policy
    from gate.report.memory import print_baseline, print_metrics

    known, place = remembered_runs(baseline, thresholds, load_policy(thresholds))
    console = console_for(no_color)
    if pattern is None:
        print_baseline(known, place, console, quiet=quiet)
    elif not print_metrics(known, pattern, console):
        raise click.UsageError(_no_match(known, place, pattern))


@baseline.command()
@BASELINE
@common
def verify(baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Read every line of the baseline. Exit code 4, with file and line, if one is damaged."""
    from gate.pipeline.load import load_policy

    known, place = accepted_runs(baseline, thresholds, load_policy(thresholds))
    if not quiet:
        runs = sum(suite.count for suite in known.suites)
        read = f"{amount(len(known.suites), 'file')} with {amount(runs, 'accepted run')}"
        say(f"{place}: {read}, no damage", console_for(no_color))


@baseline.command()
@BASELINE
@common
def repair(baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Keep what can be read of a damaged baseline, and both sides of a conflict.

    Damaged lines are moved to FILE.damaged beside each file, so that nothing is lost.
    """
    from gate.baseline.files import alone
    from gate.pipeline.load import load_policy

    directory = baseline_directory(baseline, thresholds, load_policy(thresholds))
    console = console_for(no_color)
    with alone(directory):
        files = sorted(directory.rglob("*.jsonl"))
        for file in files:
            _repair(file, directory, console)
    if not quiet:
        say(f"{directory}: {amount(len(files), 'file')} can be read", console)


def _repair(file: Path, directory: Path, console: Console) -> None:
    """Write a file anew without what is damaged."""
    from gate.baseline.files import salvaged, to_lines, write_suite

    data = content_of(file)
    kept, damaged = salvaged(str(file), data)
    if to_lines(kept) == data:
        return
    if damaged:
        with Path(f"{file}.damaged").open("ab") as aside:
            aside.writelines(text + b"\n" for _, text in damaged)
    write_suite(directory, kept)
    numbers = ", ".join(str(number) for number, _ in damaged)
    lines = f"line{'s' * (len(damaged) != 1)} {numbers}"
    moved = f"; moved damaged {lines} to {file}.damaged" if damaged else ""
    say(f"{file}: kept {amount(kept.count, 'accepted run')}{moved}", console)


@click.command()
@click.argument("pattern", metavar="METRIC")
@BASELINE
@common
def history(pattern: str, baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Show a metric through its accepted runs: commit, date, value, and what was permitted.

    METRIC is a name, one without its statistic, or a glob.
    """
    from gate.pipeline.load import load_policy
    from gate.report.history import print_history

    known, place = remembered_runs(baseline, thresholds, load_policy(thresholds))
    try:
        found = print_history(known, pattern, console_for(no_color), quiet=quiet)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not found:
        raise click.UsageError(_no_match(known, place, pattern))


@click.command()
@click.argument("before", metavar="COMMIT")
@click.argument("after", metavar="COMMIT")
@BASELINE
@common
def diff(
    before: str, after: str, baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Show two accepted runs beside each other, the largest change first."""
    from gate.pipeline.load import load_policy
    from gate.report.history import print_difference

    known, place = remembered_runs(baseline, thresholds, load_policy(thresholds))
    if not print_difference(known, before, after, console_for(no_color)):
        here = _commits_in(known, place)
        raise click.UsageError(f"no environment has accepted runs of both commits; {here}")


def _no_match(known: Baseline, place: Path | str, pattern: str) -> str:
    from gate.report.memory import without_runs

    if not known.suites:
        return without_runs(place)
    return f"no metric of the baseline in {place} matches {pattern!r}"


def _commits_in(known: Baseline, place: Path | str) -> str:
    """The accepted commits, youngest first, for who named another one."""
    from gate.report.memory import without_runs

    kept = dict.fromkeys(run.commit[:12] for suite in known.suites for run in reversed(suite.runs))
    if not kept:
        return without_runs(place)
    return f"{place} holds {', '.join(kept)}"
