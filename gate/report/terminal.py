"""Verdict -> terminal: verdict first, what to do second, then what was found."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from gate.report.text import WORD_JOINER, is_command, log_line
from gate.report.words import advice, as_one, counted, gathered, headline
from gate.verdict import KINDS, Finding, Level, Verdict

_COLOURS: Final = {"passed": "green", "failed": "red", "inconclusive": "yellow", "error": "magenta"}
_MARKS: Final = {"passed": "✓", "failed": "✗", "inconclusive": "?", "error": "!"}
LEVEL_COLOURS: Final[dict[Level, str]] = {"fail": "red", "warn": "yellow", "info": "dim"}
_MOST_ROWS: Final = 50


def print_verdict(verdict: Verdict, console: Console, *, quiet: bool = False) -> None:
    """Print a verdict; quiet: only its first two lines and what could not be read."""
    colour = _COLOURS[verdict.verdict]
    mark = _MARKS[verdict.verdict]
    _print_line(console, f"{mark} {headline(verdict)}", f"bold {colour}")
    _print_line(console, f"  {advice(verdict)}")
    errors = [finding for finding in verdict.findings if finding.kind == "report-error"]
    for finding in errors:
        _print_line(console, f"{finding.subject}: {finding.message}; {finding.remedy}", colour)
    if quiet:
        return
    shown = [
        f for f in verdict.findings if f.kind != "report-error" and (f.level != "info" or KINDS[f.kind].told)
    ]
    groups = gathered(shown)
    if groups:
        console.print()
        rows = [as_one(group) for group in groups[:_MOST_ROWS]]
        console.print(Segments(harmless(_table(rows), console)), end="")
    for finding in shown:
        if finding.kind == "unaccounted" and finding.level == "fail" and finding.remedy:  # to be pasted
            _print_line(console, f"{finding.subject}: {finding.remedy}")
    if rest := tuple(finding for group in groups[_MOST_ROWS:] for finding in group):
        _print_line(console, f"… and {counted(rest)}; all of them: --json FILE")
    quiet_ones = [f for f in verdict.findings if f.level == "info" and not KINDS[f.kind].told]
    if rest := tuple(f for f in quiet_ones if f.kind != "environment"):
        _print_line(console, f"Also: {counted(rest)}.", "dim")
    for finding in quiet_ones:
        if finding.kind == "environment":
            _print_line(console, f"{finding.suite or finding.subject}: {finding.message}", "dim")
    for suite in verdict.suites:
        runs = suite.environment.comparable_runs
        history = f"{runs} accepted run{'s' * (runs != 1)}" if runs else "nothing"
        against = f"against {history} on {suite.environment.id}"
        line = f"{suite.name}: {suite.tests:,} tests, {suite.metrics:,} metrics {against}"
        _print_line(console, line, "dim")


def _print_line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(log_line(text), style=style), soft_wrap=True)


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=2)
    table.add_column(overflow="fold", ratio=3)
    for finding in findings:
        what = Text(log_line(finding.message))
        if finding.rule:
            what.append(f"  [{log_line(finding.rule)}]", style="dim")
        kind = f"{finding.kind}{f' ({finding.state})' if finding.state else ''}"
        table.add_row(Text(kind, style=LEVEL_COLOURS[finding.level]), Text(log_line(finding.subject)), what)
    return table


def harmless(table: RenderableType, console: Console) -> Iterator[Segment]:
    """A table line by line: where a cell is folded, a line may begin like a command to GitHub's runner."""
    for line in console.render_lines(table, pad=False):
        if is_command("".join(segment.text for segment in line)):
            yield Segment(WORD_JOINER)
        yield from line
        yield Segment.line()
