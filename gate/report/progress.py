"""Progress of running suites on a terminal or in a log."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from gate.measure.protocol import Progress
from gate.model import Shard
from gate.policy import Suite
from gate.readers.naming import report_stem
from gate.report.text import log_line, one_line
from gate.runner import SuiteResult, run_suite

_LOG_EVERY: Final = 5.0
"""Seconds between two lines about a running suite in a log."""
_TAIL: Final = 15


def run_with_progress(
    suites: Sequence[Suite],
    root: Path,
    out: Path,
    console: Console,
    *,
    quiet: bool,
    shard: Shard | None = None,
) -> list[SuiteResult]:
    """Run suites one after the other, show how far they are, and say how each one ended.

    Args:
        suites: what to run.
        root: the directory of thresholds.yaml.
        out: where reports go.
        console: where progress is shown.
        quiet: show none.
        shard: the share of each suite to run. None: all of it, in as many shards as the policy says.
    """
    results: list[SuiteResult] = []
    for suite, share in [(one, share) for one in suites for share in _shares(one, shard)]:
        if quiet:
            result = run_suite(suite, root, out, lambda _: None, share)
        elif console.is_terminal:
            result = _with_bar(suite, root, out, console, share)
        else:
            lines = _log_lines(report_stem(suite.name, share), console)
            result = run_suite(suite, root, out, lines, share)
        _report_end(result, console, quiet=quiet)
        results.append(result)
    return results


def _shares(suite: Suite, shard: Shard | None) -> list[Shard | None]:
    if shard or suite.shards < 2:
        return [shard]
    return [Shard(number, suite.shards) for number in range(1, suite.shards + 1)]


def _with_bar(suite: Suite, root: Path, out: Path, console: Console, shard: Shard | None) -> SuiteResult:
    columns = (
        TextColumn("{task.fields[suite]}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.description}", table_column=None),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("starting", total=None, suite=report_stem(suite.name, shard))
        return run_suite(suite, root, out, _move(bars, task), shard)


def _move(bars: Bars, task: TaskID) -> Callable[[Progress], None]:
    def listen(event: Progress) -> None:
        if event.total is not None:
            bars.update(task, total=event.total)
        if event.started is not None:
            bars.update(task, description=escape(one_line(event.started.rpartition("::")[2][:40])))
        if event.finished is not None:
            bars.advance(task)

    return listen


def _log_lines(suite: str, console: Console) -> Callable[[Progress], None]:
    """Lines for a log: not more than one in a few seconds, whatever the number of tests."""
    begun = said = time.monotonic()
    total = done = 0

    def listen(event: Progress) -> None:
        nonlocal said, total, done
        total = event.total or total
        done += event.finished is not None
        now = time.monotonic()
        if event.started is None or now - said < _LOG_EVERY:
            return
        said = now
        left = f", about {(now - begun) / done * (total - done):.0f} s left" if done else ""
        text = f"{suite}: {done}/{total} tests, {now - begun:.0f} s{left}; now {event.started}"
        console.print(log_line(text), soft_wrap=True, highlight=False, markup=False)

    return listen


def _report_end(result: SuiteResult, console: Console, *, quiet: bool) -> None:
    if result.problem:
        line = f"{result.suite}: {result.problem}; see {result.log}"
        console.print(line, style="magenta", soft_wrap=True, highlight=False, markup=False)
        for text in result.log.read_text(errors="replace").splitlines()[-_TAIL:]:
            console.print(log_line(f"  {text}"), style="dim", soft_wrap=True, highlight=False, markup=False)
    elif not quiet:
        line = f"{result.suite}: ran in {result.seconds:.1f} s, report in {result.report}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)
