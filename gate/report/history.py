"""Accepted runs of single metrics -> terminal: one metric through time, two runs beside each other."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.baseline import AcceptedRun, Baseline, KnownMetric, SuiteBaseline
from gate.located import Place
from gate.policy import Entry
from gate.report.text import log_line
from gate.units import format_change, format_value
from pytest_regression_gate.metrics import subject_of

_BARS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float]) -> str:
    """One bar per value, between the smallest and the largest of them."""
    low, high = min(values), max(values)
    span = high - low
    top = len(_BARS) - 1
    return "".join(_BARS[round((value - low) / span * top) if span > 0 else top // 2] for value in values)


def print_history(baseline: Baseline, pattern: str, console: Console, *, quiet: bool) -> bool:
    """Each metric that matches: its values as bars and, unless quiet, a row per accepted run.

    Returns:
        Whether anything matched.

    Raises:
        ValueError: the pattern is no name and no glob.
    """
    found = list(_matching(baseline, pattern))
    for known, metric in found:
        runs = [run for run in known.runs if metric.name in run.values]
        values = [run.values[metric.name] for run in runs]
        head = f"{metric.name} on {known.environment.id}  {sparkline(values)}"
        amount = f"{len(runs)} accepted run{'s' * (len(runs) != 1)}"
        console.print(Text(log_line(f"{head}  {amount}"), style="bold"), soft_wrap=True)
        if not quiet:
            console.print(_rows(known, metric, runs))
            console.print()
    return bool(found)


def print_difference(baseline: Baseline, one: str, other: str, console: Console) -> bool:
    """What two accepted runs of an environment measured, beside each other; the largest change first.

    Args:
        baseline: what is remembered.
        one: the earlier commit, or as much of its beginning as names it.
        other: the later one.
        console: where to.

    Returns:
        Whether any suite holds both.
    """
    found = False
    for known in baseline.suites:
        before, after = _run_of(known, one), _run_of(known, other)
        if before and after:
            found = True
            _print_pair(known, before, after, console)
    return found


def _run_of(known: SuiteBaseline, commit: str) -> AcceptedRun | None:
    """The youngest accepted run of a commit."""
    return next((run for run in reversed(known.runs) if run.commit.startswith(commit)), None)


def _print_pair(known: SuiteBaseline, before: AcceptedRun, after: AcceptedRun, console: Console) -> None:
    dates = f"{before.commit[:12]} ({before.created[:10]}) → {after.commit[:12]} ({after.created[:10]})"
    title = f"{known.suite} on {known.environment.id}: {dates}"
    console.print(Text(log_line(title), style="bold"), soft_wrap=True)
    common = before.values.keys() & after.values.keys()
    table = Table("Metric", "Before", "After", "Change", box=None, pad_edge=False)
    for name in sorted(common, key=lambda name: (-_moved(before, after, name), name)):
        unit = known.metrics[name].unit if name in known.metrics else ""
        was, now = before.values[name], after.values[name]
        change = format_change((now - was) / abs(was)) if was else ""
        figures = (Text(log_line(format_value(value, unit))) for value in (was, now))
        table.add_row(Text(log_line(name)), *figures, change)
    if common:
        console.print(table)
    for word, one, other in (("only before", before, after), ("only after", after, before)):
        if alone := sorted(one.values.keys() - other.values.keys()):
            console.print(Text(log_line(f"{word}: {', '.join(alone)}"), style="dim"), soft_wrap=True)


def _matching(baseline: Baseline, pattern: str) -> Iterator[tuple[SuiteBaseline, KnownMetric]]:
    entry = Entry(pattern, Place(0, 0), {})
    entry.matches("a")
    for known in baseline.suites:
        for metric in known.metrics.values():
            if known.history(metric.name) and (
                entry.matches(metric.name) or entry.matches(subject_of(metric.name))
            ):
                yield known, metric


def _rows(known: SuiteBaseline, metric: KnownMetric, runs: Sequence[AcceptedRun]) -> Table:
    table = Table("Commit", "Date", "Value", "Change", "", box=None, pad_edge=False)
    previous: float | None = None
    pinned = known.reference(metric.name)
    for run in runs:
        value = run.values[metric.name]
        change = format_change((value - previous) / abs(previous)) if previous else ""
        notes = [f"waived: {text}" for text in run.permitted(metric.name)]
        notes += ["better than before"] * (metric.name in run.improved)
        if pinned and pinned.commit == run.commit:
            notes.append(f"reference: {pinned.reason or 'the first accepted runs'}")
        table.add_row(
            Text(log_line(run.commit[:12])),
            Text(log_line(run.created[:10])),
            Text(log_line(format_value(value, metric.unit))),
            change,
            Text(log_line("; ".join(notes))),
        )
        previous = value
    return table


def _moved(before: AcceptedRun, after: AcceptedRun, name: str) -> float:
    was = before.values[name]
    return abs(after.values[name] - was) / abs(was) if was else 0.0
