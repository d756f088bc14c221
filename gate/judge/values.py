"""Values in a report that no measurement can have: left out, and named."""

from gate.model import SuiteRun, duration_metric
from gate.policy import OFF, Policy
from gate.verdict import Finding


def judge_values(suite: SuiteRun, policy: Policy) -> list[Finding]:
    """One finding for each invalid value.

    What somebody recorded fails: nobody knows what it would have shown. A duration that pytest wrote by
    itself warns; where the accepted runs have it, it is a missing metric as well.
    """
    return [
        Finding(
            kind="invalid-value",
            level="fail" if value.recorded else "warn",
            subject=value.subject,
            suite=suite.name,
            message=f"invalid value, ignored: {value.message}",
            nodeids=(value.nodeid,),
            remedy=value.remedy,
        )
        for value in suite.invalid
        if value.recorded
        or policy.rule(duration_metric(value.subject, suite.name, value.nodeid, 0.0)).tolerance != OFF
    ]
