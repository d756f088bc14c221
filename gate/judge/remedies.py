"""What to do about findings: on a pull request a waiver permits one, on a branch an accepted run."""

import shlex
from typing import Final

import msgspec

from gate.verdict import Finding, Kind
from gate.waivers import waive_command

BASE: Final = "BASE"
"""Stands for the base in a command, until it is known."""

_LESS: Final[frozenset[Kind]] = frozenset({"missing-test", "newly-skipped", "missing-metric"})
"""What may be intended, and then has to be accepted."""


def with_remedies(findings: list[Finding], base: str, *, change: bool) -> list[Finding]:
    """The findings with commands that work where they are read.

    Args:
        findings: as they were judged.
        base: the commit beside which the head was measured; empty: none.
        change: a change is judged, not a branch: what it accepts by itself has no effect.
    """
    return [_with_remedy(finding, base, change=change) for finding in findings]


def _with_remedy(finding: Finding, base: str, *, change: bool) -> Finding:
    reproduce, remedy = finding.reproduce, finding.remedy
    if base:
        reproduce = reproduce.replace(f"--base {BASE}", f"--base {base[:12]}")
    if finding.kind in _LESS and finding.level == "fail" and finding.subject != finding.suite:
        accepting = f"accept it: gate baseline accept --subject {shlex.quote(finding.subject)} --reason TEXT"
        if change:
            accepting = f"comment on the pull request: {waive_command(finding.subject)}"
        remedy = f"{remedy}; if intended, {accepting}" if remedy else accepting
    return msgspec.structs.replace(finding, reproduce=reproduce, remedy=remedy)
