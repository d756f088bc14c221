"""Waivers: reviewed permissions for single regressions of one head commit. Pure.

Who may give one is asked of GitHub in `gate.github.waivers`; what one permits is decided here.
"""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from gate.verdict import KINDS, Finding, Waiver
from pytest_regression_gate.metrics import subject_of

EVERYTHING: Final = "*"
"""The subject of a waiver by label: everything that a waiver can permit."""


class Waivers(msgspec.Struct, frozen=True):
    """What `gate waivers` found for one head commit."""

    head: str
    granted: tuple[Waiver, ...] = ()
    refused: tuple[str, ...] = ()
    """Why others do not count, a sentence each."""
    outdated: str = ""
    """Why nothing that this run finds may be told as a result; empty: its question still stands."""


NO_WAIVERS: Final = Waivers("")


def waive_command(subject: str) -> str:
    """The comment that asks for a waiver, with the reason left open."""
    return f'/gate waive "{subject}" REASON' if " " in subject else f"/gate waive {subject} REASON"


def read_waivers(data: bytes) -> Waivers:
    """Read the file that `gate waivers` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        return msgspec.json.decode(data, type=Waivers)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a waivers file: {error}") from None


def permission_for(finding: Finding, granted: Sequence[Waiver]) -> Waiver | None:
    """The waiver that permits a finding; None: there is none.

    A finding that is undecided because of what base and head share is also permitted by waivers of all that
    they share, each by its name.
    """
    if waiver := next((one for one in granted if _covers(one, finding)), None):
        return waiver
    names = {one.subject: one for one in granted}
    if finding.shared and names.keys() >= set(finding.shared):
        return names[finding.shared[0]]
    return None


def _covers(waiver: Waiver, finding: Finding) -> bool:
    """Whether a waiver is about a finding: by its name, without the statistic, or by a name above it."""
    if finding.kind == "unaccounted":
        return waiver.subject == finding.subject
    if not KINDS[finding.kind].waivable or (waiver.subject == EVERYTHING and finding.shared):
        return False
    if waiver.subject in {EVERYTHING, finding.subject} or finding.subject.startswith(f"{waiver.subject}."):
        return True
    try:
        return waiver.subject == subject_of(finding.subject)
    except ValueError:  # a test, not a metric
        return False


def apply_waivers(
    findings: Sequence[Finding], waivers: Waivers, behind: Collection[str] = ()
) -> tuple[list[Finding], tuple[Waiver, ...]]:
    """Permit what is waived: it still shows, as a warning in the state `waived`.

    A waiver is about one change. Where others were merged since the last accepted run, nobody knows how much
    of a figure is its own, so it permits none; and one for everything permits nothing.

    Args:
        findings: what was found.
        waivers: what is permitted.
        behind: suites of which several changes are judged together.

    Returns:
        All findings, with a warning for each waiver that permits nothing or does not count, and the
        waivers that were used.
    """
    used: dict[Waiver, None] = {}
    result: list[Finding] = []
    for finding in findings:
        speaks = finding.level == "fail" or finding.kind == "unaccounted"
        waiver = permission_for(finding, waivers.granted) if speaks else None
        if waiver is None:
            result.append(finding)
            continue
        used[waiver] = None
        if finding.suite in behind and (finding.head is not None or waiver.subject == EVERYTHING):
            why = "it covers only the last change, and others were merged since the last accepted run"
            message = f"{finding.message}. The waiver by {waiver.by} does not apply: {why}"
            remedy = f"gate baseline accept --subject {finding.subject} --reason TEXT"
            result.append(msgspec.structs.replace(finding, message=message, remedy=remedy))
            continue
        not_judged = "not judged: " if waiver.subject in finding.shared else ""
        result.append(
            msgspec.structs.replace(
                finding,
                level="warn",
                state="waived",
                remedy="",
                message=f"{not_judged}{finding.message}; waived by {waiver.by}: {waiver.reason}",
            )
        )
    idle = [
        f"the waiver of {w.subject} by {w.by} has no effect: nothing of that name failed that can be waived"
        for w in waivers.granted
        if w not in used and w.subject != EVERYTHING
    ]
    result += [
        Finding(kind="environment", level="warn", subject="waiver", message=message)
        for message in (*waivers.refused, *idle)
    ]
    return result, tuple(used)
