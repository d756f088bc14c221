"""Verdict -> Document: what the step summary and the page show."""

from gate.report.document import Cell, Code, Document
from gate.report.words import advice, both_sides, counted, happened, headline
from gate.units import format_change
from gate.verdict import Finding, Verdict

_MOST_ROWS = 200


def verdict_document(verdict: Verdict) -> Document:
    """Everything worth reading in a verdict, worst first."""
    document = Document(headline(verdict))
    document.paragraph(advice(verdict))
    for title, findings in (("Failing", verdict.of_level("fail")), ("Warnings", verdict.of_level("warn"))):
        if findings:
            document.heading(title)
            _findings(document, findings)
    information = verdict.of_level("info")
    if information:
        document.heading("For information")
        _findings(document, information)
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


def _findings(document: Document, findings: tuple[Finding, ...]) -> None:
    document.table(
        ("Kind", "Subject", "Baseline → head", "Change", "What happened", "Rule"),
        [_row(finding) for finding in findings[:_MOST_ROWS]],
        numeric=(2, 3),
    )
    if len(findings) > _MOST_ROWS:
        document.paragraph(f"Not shown: {counted(findings[_MOST_ROWS:])}.")
    commands = dict.fromkeys(finding.reproduce for finding in findings if finding.reproduce)
    if commands:
        document.paragraph("To see it on your machine:")
        document.commands(*list(commands)[:20])


def _row(finding: Finding) -> tuple[Cell, ...]:
    kind = f"{finding.kind} ({finding.state})" if finding.state else finding.kind
    return (
        kind,
        Code(finding.subject),
        both_sides(finding),
        "" if finding.change is None else format_change(finding.change),
        happened(finding),
        Code(finding.rule) if finding.rule else "",
    )
