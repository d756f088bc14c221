"""Verdict -> terminal: verdict first, what to do second, then what was found."""

from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gate.report.words import advice, counted, headline
from gate.verdict import Finding, Kind, Level, Verdict

_COLOURS: Final = {"passed": "green", "failed": "red", "inconclusive": "yellow", "error": "magenta"}
_MARKS: Final = {"passed": "✓", "failed": "✗", "inconclusive": "?", "error": "!"}
_LEVEL_COLOURS: Final[dict[Level, str]] = {"fail": "red", "warn": "yellow", "info": "dim"}
_WORTH_A_LINE: Final[frozenset[Kind]] = frozenset({"known-failure", "fixed", "improvement"})
_MOST_ROWS: Final = 50


def print_verdict(verdict: Verdict, console: Console, *, quiet: bool = False) -> None:
    """Print a verdict; quiet: only its first two lines and what could not be read."""
    colour = _COLOURS[verdict.verdict]
    mark = _MARKS[verdict.verdict]
    console.print(f"[bold {colour}]{mark} {escape(headline(verdict))}[/]", soft_wrap=True, highlight=False)
    console.print(f"  {escape(advice(verdict))}", soft_wrap=True, highlight=False)
    errors = [finding for finding in verdict.findings if finding.kind == "report-error"]
    for finding in errors:
        line = f"{finding.subject}: {finding.message}; {finding.remedy}"
        console.print(f"[{colour}]{escape(line)}[/]", soft_wrap=True, highlight=False)
    if quiet:
        return
    shown = [
        f
        for f in verdict.findings
        if f.kind != "report-error" and (f.level != "info" or f.kind in _WORTH_A_LINE)
    ]
    if shown:
        console.print()
        console.print(_table(shown[:_MOST_ROWS]))
    if len(shown) > _MOST_ROWS:
        console.print(
            f"… and {counted(tuple(shown[_MOST_ROWS:]))}; all of them: --json FILE", highlight=False
        )
    rest = tuple(f for f in verdict.findings if f.level == "info" and f.kind not in _WORTH_A_LINE)
    if rest:
        console.print(f"[dim]Also: {counted(rest)}.[/]", highlight=False)
    for suite in verdict.suites:
        runs = suite.environment.comparable_runs
        history = f"{runs} accepted run{'s' * (runs != 1)}" if runs else "nothing"
        against = f"against {history} on {suite.environment.id}"
        line = f"{suite.name}: {suite.tests:,} tests, {suite.metrics:,} metrics {against}"
        console.print(f"[dim]{escape(line)}[/]", soft_wrap=True, highlight=False)


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=2)
    table.add_column(overflow="fold", ratio=3)
    for finding in findings:
        what = Text(finding.message)
        if finding.rule:
            what.append(f"  [{finding.rule}]", style="dim")
        kind = f"{finding.kind}{f' ({finding.state})' if finding.state else ''}"
        table.add_row(Text(kind, style=_LEVEL_COLOURS[finding.level]), Text(finding.subject), what)
    return table
