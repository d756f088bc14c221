"""What the accepted runs call lost or raised, and is so on the base already: no fault of the head. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from gate.judge.metrics import worsened
from gate.model import Metric
from gate.policy import Policy
from gate.units import format_value
from gate.verdict import Finding


def as_on_base(
    findings: Sequence[Finding],
    at_base: Mapping[str, float | None],
    metrics: Mapping[str, Metric],
    policy: Policy,
) -> list[Finding]:
    """The findings; those that the base shares do not fail, and a remark on each of their suites says so.

    Args:
        findings: what the accepted runs say.
        at_base: what the base gave in a run of its own, see `Confirmation.at_base`.
        metrics: of the run, by name.
        policy: which way is better, and what is tolerated.
    """
    judged = [_as_on_base(finding, at_base, metrics, policy) for finding in findings]
    shared = [after for before, after in zip(findings, judged, strict=True) if after is not before]
    remarks = [_remark(suite, shared) for suite in sorted({finding.suite for finding in shared})]
    return judged + remarks


def _as_on_base(
    finding: Finding, at_base: Mapping[str, float | None], metrics: Mapping[str, Metric], policy: Policy
) -> Finding:
    if finding.level != "fail" or finding.subject not in at_base:
        return finding
    there = at_base[finding.subject]
    if there is None:
        message = f"{finding.message}; so it is on the base"
        return msgspec.structs.replace(finding, level="info", message=message, remedy="")
    metric = metrics[finding.subject]
    if worsened(metric, policy.rule(metric), there):
        return finding
    accepted = format_value(finding.baseline or 0.0, metric.unit)
    return msgspec.structs.replace(
        finding,
        level="info",
        state="cleared",
        baseline=there,
        change=(metric.value - there) / abs(there) if there else None,
        message=f"the base gives {format_value(there, metric.unit)} itself; accepted is {accepted}",
    )


def _remark(suite: str, shared: Sequence[Finding]) -> Finding:
    number = sum(finding.suite == suite for finding in shared)
    return Finding(
        kind="environment",
        level="warn",
        subject=suite,
        suite=suite,
        message=f"the accepted runs are older than the base: {number} of the tests and metrics in them "
        "are lost or worse there already",
        remedy="accept a run of the base: gate baseline accept --reason TEXT",
    )
