"""The answer of `gate confirm`: a record for machines, a table for people."""

from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.confirm import Comparison, Question
from gate.evidence import Decision
from gate.report.text import log_line
from gate.units import format_change, format_value

SCHEMA: Final = "gate.comparison/1"
_STYLES: Final = {"confirmed": "red", "cleared": "green", "inconclusive": "yellow"}


class Compared(msgspec.Struct, frozen=True):
    """One metric."""

    metric: str
    unit: str
    base: float
    head: float
    change: float
    """Relative change, positive when the value grew."""
    interval: tuple[float, float]
    launches: tuple[float, ...]
    """log(head / base) of each launch."""
    tolerance: float
    decision: Decision


class Record(msgspec.Struct, frozen=True):
    """All that was compared."""

    schema: str
    base: str
    head: str
    """Empty: the work tree."""
    seconds: float
    launches: int
    metrics: tuple[Compared, ...]
    not_reached: tuple[str, ...]
    not_comparable: tuple[str, ...]
    """Base and head do not both measure it."""
    interrupted: bool
    exit_code: int


def comparison_record(questions: Sequence[Question], result: Comparison, base: str, head: str) -> Record:
    """What was asked and what the machine said."""
    metrics = tuple(
        Compared(
            question.metric,
            question.unit,
            shown.base,
            shown.head,
            shown.change,
            shown.interval,
            shown.ratios,
            question.tolerance,
            result.decisions[question.metric],
        )
        for question in questions
        if (shown := result.evidence.get(question.metric))
    )
    decisions = {compared.decision for compared in metrics}
    unmeasured = (*result.not_reached, *result.not_comparable)
    complete = not result.interrupted and not unmeasured and "inconclusive" not in decisions
    return Record(
        SCHEMA,
        base,
        head,
        round(result.seconds, 3),
        result.launches,
        metrics,
        result.not_reached,
        result.not_comparable,
        result.interrupted,
        3 if result.interrupted else 1 if "confirmed" in decisions else 0 if complete else 3,
    )


def to_json(record: Record) -> bytes:
    """The record as an indented JSON document that ends with a newline."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def print_comparison(record: Record, console: Console) -> None:
    """One row per metric, then what was not reached."""
    table = Table("Decision", "Metric", "Base", "Head", "Change", "Launches", box=None, pad_edge=False)
    for compared in record.metrics:
        low, high = (format_change(bound) for bound in compared.interval)
        table.add_row(
            Text(compared.decision, style=_STYLES[compared.decision]),
            Text(log_line(compared.metric)),
            Text(log_line(format_value(compared.base, compared.unit))),
            Text(log_line(format_value(compared.head, compared.unit))),
            f"{format_change(compared.change)} ({low} to {high})",
            str(len(compared.launches)),
        )
    console.print(table)
    for name in record.not_comparable:
        console.print(Text(f"not measured on both sides: {log_line(name)}"))
    for name in record.not_reached:
        console.print(Text(f"not reached: {log_line(name)}"))
    tail = "; interrupted" if record.interrupted else ""
    console.print(
        f"base {record.base[:12]}, head {record.head[:12] or 'work tree'}: "
        f"{record.launches} launches in {record.seconds:.0f} s{tail}",
        highlight=False,
    )
