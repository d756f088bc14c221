"""Baseline -> terminal: what is remembered, and how much each metric moves."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.baseline import Baseline
from gate.judge.drift import named_pin
from gate.located import Place
from gate.policy import Entry, split_pattern
from gate.report.text import log_line
from gate.statistics import screen
from gate.units import format_bound, format_value


def without_runs(place: Path | str) -> str:
    """What to say where nothing was accepted yet."""
    return f"no accepted runs in {place}; add some: gate baseline update"


def print_baseline(baseline: Baseline, place: str, console: Console, *, quiet: bool) -> None:
    """One row per environment and suite."""
    if not baseline.suites:
        console.print(without_runs(place), highlight=False, markup=False)
        return
    table = Table(
        "Suite",
        "Environment",
        "Runs",
        "Last commit",
        "Written",
        "Metrics",
        "Tests",
        box=None,
        pad_edge=False,
    )
    for known in baseline.suites:
        last = known.runs[-1] if known.runs else None
        table.add_row(
            Text(log_line(known.suite)),
            known.environment.id,
            str(len(known.runs)),
            Text(log_line(last.commit[:12] if last else "-")),
            Text(log_line(last.created[:16] if last and not quiet else "")),
            str(len(known.metrics)),
            str(len(known.tests)),
        )
    console.print(table)
    for known in () if quiet else baseline.suites:
        for pin in known.pins:
            text = (
                f"{known.suite} on {known.environment.id}: {len(pin.values)} metrics since {named_pin(pin)}"
            )
            console.print(Text(f"reference of {log_line(text)}"), soft_wrap=True)
        for run in known.runs:
            for one in run.waived:
                text = f"{known.suite} at {run.commit[:7]} of {run.created[:10]}: {one.described}"
                console.print(Text(f"permitted in {log_line(text)}"), soft_wrap=True)


def print_metrics(baseline: Baseline, pattern: str, console: Console) -> bool:
    """One row per matching metric and environment: centre, last value, smallest visible change.

    Returns:
        Whether anything matched; nothing matches what is no pattern.
    """
    try:
        split_pattern(pattern)
    except ValueError:
        return False
    entry = Entry(pattern, Place(0, 0), {})
    table = Table("Metric", "Environment", "Runs", "Median", "Last", "Visible from", box=None, pad_edge=False)
    for known in baseline.suites:
        for metric in known.metrics.values():
            history = known.history(metric.name)
            if not history or not entry.matches(metric.name):
                continue
            screened = screen(history, history[-1], metric.better)
            visible = "any change" if metric.exact else format_bound(screened.visible)
            table.add_row(
                Text(log_line(metric.name)),
                known.environment.id,
                str(len(history)),
                Text(log_line(format_value(screened.centre, metric.unit))),
                Text(log_line(format_value(history[-1], metric.unit))),
                visible,
            )
    if table.row_count:
        console.print(table)
    return bool(table.row_count)
