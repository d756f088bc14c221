"""Whether a report is about the code that is judged, or left over from an earlier run."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from gate.model import Problem, SuiteRun
from gate.policy import OFF
from gate.units import Quantity

_AHEAD: Final = 600.0
"""Seconds; clocks of machines differ a little. A run from the future would be the youngest for years."""
_RERUN: Final = "run the suite again"


def stale_reports(
    reports: Iterable[SuiteRun], head: str, now: float, max_age: Quantity
) -> tuple[Problem, ...]:
    """Find reports of another commit, and reports that are too old.

    A report that does not say which commit it measured (written without the gate's plugin) cannot be
    told fresh from stale, so only its commit is checked when it names one.

    Args:
        reports: those that could be read, shards apart: each must be fresh.
        head: the commit that is checked out; empty outside a repository.
        now: seconds since the epoch.
        max_age: how old a report may be.
    """
    problems: list[Problem] = []
    for suite in reports:
        if suite.created - now > _AHEAD:
            message = f"report of suite {suite.name!r} was written {suite.created - now:,.0f} s from now"
            problems.append(Problem(suite.source, message, "set the clock of the machine that measured it"))
        if not suite.commit:
            continue
        written = datetime.fromtimestamp(suite.created, UTC).isoformat(sep=" ", timespec="seconds")
        if head and suite.commit != head:
            commits = f"it measured {suite.commit[:10]}, checked out is {head[:10]}"
            problems.append(Problem(suite.source, f"stale report of suite {suite.name!r}: {commits}", _RERUN))
        elif max_age != OFF and now - suite.created > max_age.to("s"):
            message = f"stale report of suite {suite.name!r}: written {written}, more than {max_age} ago"
            problems.append(Problem(suite.source, message, f"{_RERUN}, or raise max_age in thresholds.yaml"))
    return tuple(problems)
