"""What else changed since the last accepted run, beside the code: told where something is red."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gate.baseline import Baseline
from gate.model import Run
from gate.verdict import Finding

_EXPLAINED: Final = frozenset({"regression", "limit", "drift", "new-failure", "changed-failure"})
"""Kinds that another version of something can be behind."""
_MOST: Final = 6


def judge_surroundings(
    run: Run, baseline: Baseline, findings: Iterable[Finding], *, by_change: bool
) -> list[Finding]:
    """One finding for each suite in which something is red while it ran with other versions than before.

    Args:
        run: the run.
        baseline: the accepted runs.
        findings: what was found so far.
        by_change: whether the change that is judged may be the reason.
    """
    red = {finding.suite for finding in findings if finding.level == "fail" and finding.kind in _EXPLAINED}
    told: list[Finding] = []
    for name in sorted(red & run.suites.keys()):
        suite = run.suites[name]
        known = baseline.comparable(name, suite.environment)
        before = next((one.uses for one in reversed(known.runs if known else ()) if one.uses), None)
        differences = list(_differences(before, suite.uses)) if before and suite.uses else []
        if not differences:
            continue
        more = f" and {len(differences) - _MOST} more" if len(differences) > _MOST else ""
        message = (
            f"since the last accepted run, beside the code: {', '.join(differences[:_MOST])}{more}"
            f"{'' if by_change else '; not by this change'}"
        )
        told.append(Finding(kind="environment", level="warn", subject=name, suite=name, message=message))
    return told


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """The interpreter, then variables, then distributions."""
    for name in sorted(before.keys() | now.keys(), key=lambda name: (name != "python", name)):
        was, is_ = before.get(name, ""), now.get(name, "")
        if was == is_:
            continue
        if name.startswith("$"):
            how = "changed" if was and is_ else "was set" if is_ else "is not set any more"
            yield f"variable {name[1:]} {how}"
        else:
            yield f"{name} {was or 'none'} → {is_ or 'none'}"
