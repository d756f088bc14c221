"""Verdict -> Document: what the step summary and the page show."""

from typing import Final

from gate.report.document import Cell, Code, Document
from gate.report.markdown import to_markdown
from gate.report.words import advice, both_sides, counted, happened, headline
from gate.units import format_change
from gate.verdict import Finding, Verdict

_MOST_ROWS: Final = 200
_MOST_BYTES: Final = 1_000_000
"""GitHub shows no summary of more than 1 MiB, and other steps write to it, too."""
_SIZES: Final = ((_MOST_ROWS, 2_000), (50, 1_000), (10, 300))
"""Rows of a table and characters of a cell, until it fits."""


def summary(verdict: Verdict) -> str:
    """A verdict as Markdown, short enough for the summary of a job."""
    texts = (to_markdown(verdict_document(verdict, rows, longest)) for rows, longest in _SIZES)
    return next((text for text in texts if len(text.encode()) <= _MOST_BYTES), f"# {headline(verdict)}\n")


def verdict_document(verdict: Verdict, rows: int = _MOST_ROWS, longest: int | None = None) -> Document:
    """Everything worth reading in a verdict, worst first.

    Args:
        verdict: what the gate has to say.
        rows: how many of a table are shown.
        longest: how many characters of a cell; None: all.
    """
    document = Document(headline(verdict))
    document.paragraph(advice(verdict))
    for title, findings in (("Failing", verdict.of_level("fail")), ("Warnings", verdict.of_level("warn"))):
        if findings:
            document.heading(title)
            _findings(document, findings, rows, longest)
    information = verdict.of_level("info")
    if information:
        document.heading("For information")
        _findings(document, information, rows, longest)
    document.heading("What it rests on")
    document.table(
        ("Suite", "Tests", "Metrics", "Environment", "Comparable runs"),
        [
            (
                s.name,
                f"{s.tests:,}",
                f"{s.metrics:,}",
                Code(s.environment.id),
                str(s.environment.comparable_runs),
            )
            for s in verdict.suites
        ],
        numeric=(1, 2, 4),
    )
    head, base = verdict.head.commit or "unknown", verdict.base.commit or "none"
    document.paragraph(
        "Head", Code(head[:12]), "· base", Code(base[:12]), "· rules from", Code(verdict.policy)
    )
    return document


def _findings(document: Document, findings: tuple[Finding, ...], rows: int, longest: int | None) -> None:
    document.table(
        ("Kind", "Subject", "Baseline → head", "Change", "What happened", "Rule"),
        [_row(finding, longest) for finding in findings[:rows]],
        numeric=(2, 3),
    )
    if len(findings) > rows:
        document.paragraph(f"Not shown: {counted(findings[rows:])}.")
    commands = dict.fromkeys(
        finding.reproduce
        for finding in findings
        if finding.reproduce and (longest is None or len(finding.reproduce) <= longest)
    )
    if commands:
        document.paragraph("To see it on your machine:")
        document.commands(*list(commands)[:20])


def _row(finding: Finding, longest: int | None) -> tuple[Cell, ...]:
    kind = f"{finding.kind} ({finding.state})" if finding.state else finding.kind
    return (
        kind,
        Code(_cut(finding.subject, longest)),
        both_sides(finding),
        "" if finding.change is None else format_change(finding.change),
        _cut(happened(finding), longest),
        Code(_cut(finding.rule, longest)) if finding.rule else "",
    )


def _cut(text: str, longest: int | None) -> str:
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"
