"""Explanation -> terminal: what is measured where, which rule holds and why, what history says."""

from rich.console import Console
from rich.padding import Padding
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from gate.accounts import Account
from gate.explain import Candidate, ExplainedMetric, Explanation, Field, History
from gate.judge.drift import RECENT, named_pin
from gate.report.terminal import LEVEL_COLOURS, harmless
from gate.report.text import log_line
from gate.units import format_bound, format_change, format_value
from gate.verdict import Finding


def print_explanation(explanation: Explanation, console: Console, *, quiet: bool = False) -> None:
    """Print an explanation; quiet: the rules alone."""
    for metric in explanation.metrics:
        _metric(metric, console, quiet=quiet)
    if explanation.omitted:
        number = len(explanation.omitted)
        first = ", ".join(explanation.omitted[:3])
        _line(console, f"… and {number} more ({first}{', …' * (number > 3)}): name one of them", "dim")
        console.print()
    if not explanation.metrics:
        _line(console, f"{explanation.subject}: a test that measures nothing, judged by its outcome", "bold")
        console.print()
    if quiet:
        return
    if explanation.findings is not None:
        _findings(explanation.findings, console)
    if explanation.account:
        _differences(explanation.account, console)
    if explanation.commands:
        _line(console, "To see it on your machine", "bold")
        for command in explanation.commands:
            _line(console, f"  {command}")


def _metric(metric: ExplainedMetric, console: Console, *, quiet: bool) -> None:
    _line(console, metric.name, "bold")
    rows = _rows()
    if metric.nodeid:
        rows.add_row("measured", Text(log_line(f"{metric.suite}: {metric.nodeid}")))
    else:
        rows.add_row("measured", "never yet: it is in no accepted run")
    for field in metric.fields:
        rows.add_row(field.name, _decided(field))
    _print(rows, console)
    for history in () if quiet else metric.histories:
        console.print()
        _line(console, f"  history on {history.environment}")
        rows = _rows()
        for name, text in _remembered(metric, history):
            rows.add_row(name, Text(log_line(text)))
        _print(rows, console)
    console.print()


def _decided(field: Field) -> Text:
    text = Text(f"{field.winner.value}  ", style="bold")
    text.append(log_line(f"{_source(field.winner)}: {field.why}"), style="not bold")
    for loser in field.losers:
        text.append("\n  not " + log_line(f"{loser.value}  {_source(loser)}"), style="dim not bold")
    return text


def _source(candidate: Candidate) -> str:
    return f"{candidate.source} ({candidate.place})" if candidate.place else candidate.source


def _remembered(metric: ExplainedMetric, history: History) -> list[tuple[str, str]]:
    """Rows of one environment: runs, level, noise, reference, steps."""

    def shown(value: float) -> str:
        return format_value(value, metric.unit)

    visible = "any change" if history.visible == 0 else f"{format_change(history.visible)} or worse"
    runs = f"{history.runs} accepted run{'s' * (history.runs != 1)}"
    rows = [
        ("runs", f"{runs}, {history.first[:10]} to {history.last[:10]}"),
        ("centre", f"{shown(history.centre)}, newest {shown(history.newest)}"),
        ("noise", f"{100 * history.noise:.1f} % from run to run; one new run shows {visible}"),
    ]
    if history.pin is None:
        rows.append(("reference", "none yet: the first 5 accepted runs, or gate baseline pin"))
    else:
        level = history.pin.values[metric.name]
        moved = f", {format_change((history.recent - level) / abs(level))}" if level else ""
        newest = f"the newest {min(RECENT, history.runs)} runs {shown(history.recent)}{moved}"
        rows.append(("reference", f"{shown(level)} since {named_pin(history.pin)}; {newest}"))
    steps = [
        f"{format_change(s.step.change)} ({shown(s.step.before)} → {shown(s.step.after)}) "
        f"at {s.commit[:7]} of {s.created[:10]}"
        for s in history.steps
    ]
    rows += [("step" if index == 0 else "", text) for index, text in enumerate(steps)]
    return rows if steps else [*rows, ("step", "none in the kept runs")]


def _findings(findings: tuple[Finding, ...], console: Console) -> None:
    _line(console, "In the verdict" if findings else "In the verdict: nothing about it", "bold")
    if findings:
        table = _rows()
        for finding in findings:
            kind = f"{finding.kind}{f' ({finding.state})' if finding.state else ''}"
            interval = ""
            if finding.interval:
                low, high = (format_bound(bound, finding.change or 0.0) for bound in finding.interval)
                interval = f"\nbase → head: {low} to {high} on one machine"
            what = Text(f"{log_line(f'{finding.subject}: {finding.message}')}{interval}")
            if finding.rule:
                what.append(f"\n{log_line(finding.rule)}", style="dim")
            table.add_row(Text(kind, style=LEVEL_COLOURS[finding.level]), what)
        _print(table, console)
    console.print()


def _differences(account: Account, console: Console) -> None:
    """What the tests use that is not the same at the base, and whether the base had its own."""
    _line(console, "Between base and head", "bold")
    table = _rows()
    for test, reached in account.tests.items():
        for place in reached.seen:
            difference = account.differences[place]
            table.add_row("own", log_line(f"{difference.what}: each side of {test} used its own"))
        for difference in account.unaccounted(test):
            text = log_line(f"{difference.what}: {difference.why}; {difference.remedy}")
            table.add_row(Text("shared", style=LEVEL_COLOURS["fail"]), text)
        if account.untouched(test):
            table.add_row("untouched", log_line(f"{test} uses nothing that differs"))
    _print(table, console)
    console.print()


def _rows() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=9)
    table.add_column(overflow="fold")
    return table


def _print(table: Table, console: Console) -> None:
    console.print(Segments(harmless(Padding(table, (0, 0, 0, 2), expand=False), console)), end="")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(log_line(text), style=style), soft_wrap=True)
