"""A verdict in words: the two lines that every output begins with."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec

from gate.nodeids import file_of
from gate.units import format_value
from gate.verdict import KINDS, Finding, Kind, Level, State, Verdict

_SPECIAL: Final[dict[tuple[Kind, State | Level | None], tuple[str, str]]] = {
    ("regression", "cleared"): ("suspect cleared", "suspects cleared"),
    ("regression", "machine"): ("slow metric of unchanged code", "slow metrics of unchanged code"),
    ("regression", "inconclusive"): ("undecided metric", "undecided metrics"),
    ("regression", "info"): ("undecided metric", "undecided metrics"),
    ("limit", "inconclusive"): ("undecided limit", "undecided limits"),
    ("limit", "machine"): ("limit broken by unchanged code", "limits broken by unchanged code"),
    ("invalid-load", "machine"): ("invalid load of unchanged code", "invalid loads of unchanged code"),
    ("invalid-load", "cleared"): ("load compared in turns", "loads compared in turns"),
    ("environment", "info"): ("remark on the environment", "remarks on the environment"),
    ("invalid-load", "warn"): ("percentile of few requests", "percentiles of few requests"),
    ("known-failure", "warn"): ("known failure due", "known failures due"),
    ("known-failure", "fail"): ("known failure due", "known failures due"),
    ("fixed", "warn"): ("known failure that passes", "known failures that pass"),
    ("fixed", "fail"): ("known failure that passes", "known failures that pass"),
}
"""Kinds that are called something else in a state or on a level."""
_OF_THE_BASE: Final = ("failure on the base too", "failures on the base too")
"""Of tests that the accepted runs know as passing, and no rule as failing."""


def counted(findings: tuple[Finding, ...]) -> str:
    """Findings by kind, in reading order: `2 regressions, 1 new failure`."""
    counts = Counter(_names(finding) for finding in findings)
    return ", ".join(f"{number:,} {names[number != 1]}" for names, number in counts.items())


def _names(finding: Finding) -> tuple[str, str]:
    """What one and what several findings like this are called."""
    if finding.state == "waived":
        row = KINDS[finding.kind]
        return f"{row.one} waived", f"{row.many} waived"
    if finding.kind == "known-failure" and finding.level == "warn" and not finding.rule:
        return _OF_THE_BASE
    special = _SPECIAL.get((finding.kind, finding.state)) or _SPECIAL.get((finding.kind, finding.level))
    row = KINDS[finding.kind]
    return special or (row.one, row.many)


def happened(finding: Finding) -> str:
    """What happened and what to do about it."""
    return finding.message + (f"; {finding.remedy}" if finding.remedy else "")


_ALIKE: Final = 3


def gathered(findings: Iterable[Finding]) -> list[tuple[Finding, ...]]:
    """Tests or differences of which the same is said, three or more, together; the rest alone, in order."""
    groups: dict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for place, finding in enumerate(findings):
        alike = KINDS[finding.kind].of_test or finding.kind == "unaccounted"
        said = finding.message if alike else str(place)
        groups[finding.kind, finding.level, finding.suite, said].append(finding)
    return [
        part
        for group in groups.values()
        for part in ((tuple(group),) if len(group) >= _ALIKE else ((finding,) for finding in group))
    ]


def as_one(group: tuple[Finding, ...]) -> Finding:
    """One finding in place of several alike, about their file if they share one, else about the first."""
    first = group[0]
    if len(group) == 1:
        return first
    if first.kind == "unaccounted":
        return msgspec.structs.replace(first, subject=f"{first.subject} and {len(group) - 1:,} more")
    files = {file_of(finding.subject) for finding in group}
    where = "" if len(files) == 1 else f" in {len(files)} files"
    return msgspec.structs.replace(
        first,
        subject=first.subject if where else files.pop(),
        message=f"{len(group):,} tests alike{where}: {first.message}",
    )


def both_sides(finding: Finding) -> str:
    """`41 ms → 49 ms`, or as much of it as there is."""
    before = "" if finding.baseline is None else f"{format_value(finding.baseline, finding.unit)} → "
    return before + ("" if finding.head is None else format_value(finding.head, finding.unit))


def headline(verdict: Verdict) -> str:
    """The verdict and what it rests on, in one line."""
    summary, tests = verdict.summary, verdict.summary.tests
    failing, warning = verdict.of_level("fail"), verdict.of_level("warn")
    parts = [
        counted(failing),
        f"{counted(warning)} (warning{'s' * (len(warning) > 1)})" if warning and not failing else "",
        _tests(tests.passed, tests.failed, tests.skipped),
        f"{summary.metrics:,} metric{'s' * (summary.metrics != 1)}, {summary.compared:,} compared",
    ]
    return f"{verdict.verdict}: {' · '.join(part for part in parts if part)}"


def advice(verdict: Verdict) -> str:
    """What to do now, in one line."""
    failing = verdict.of_level("fail")
    if not failing:
        return (
            "Nothing to do." if not verdict.of_level("warn") else "Nothing has to be done; read the warnings."
        )
    return _about(failing[0])


def _about(first: Finding) -> str:
    match first.kind:
        case "report-error":
            return f"{_sentence(first.remedy)} Nothing was judged that could not be read."
        case "new-failure" | "changed-failure" | "flaky" | "known-failure":
            return f"Fix the failing test first: {first.reproduce}"
        case "regression" if first.state == "suspect":
            return f"Look at {first.subject} first; it was compared with history only, run again to be sure."
        case "regression" if first.state == "inconclusive" and first.remedy:
            return _sentence(first.remedy)
        case "regression" | "limit":
            return f"Look at {first.subject} first: {first.reproduce}"
        case _:
            return _sentence(first.remedy or f"look at {first.subject}")


def _tests(passed: int, failed: int, skipped: int) -> str:
    parts = [
        f"{passed:,} test{'s' * (passed != 1)} passed",
        f"{failed:,} failed" if failed else "",
        f"{skipped:,} skipped" if skipped else "",
    ]
    return ", ".join(part for part in parts if part)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
