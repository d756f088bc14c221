"""What repeated runs of unchanged code teach: noise, what can be seen, limits inside the noise. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gate.model import SuiteRun
from gate.noise import Noise, Proposal, measure_noise, proposals
from gate.policy import Policy
from gate.verdict import EXIT_CODES

SCHEMA: Final = "gate.calibration/1"


@dataclass
class Calibration:
    """What the runs taught."""

    wanted: int
    runs: list[Mapping[str, SuiteRun]] = field(default_factory=list[Mapping[str, SuiteRun]])
    """Clean runs, in order."""
    refused: list[str] = field(default_factory=list[str])
    """Why a run was not accepted, one sentence each."""
    interrupted: bool = False
    table: list[Noise] = field(default_factory=list[Noise])
    proposals: list[Proposal] = field(default_factory=list[Proposal])
    unstable: list[str] = field(default_factory=list[str])
    """Work counts that differ between runs, one sentence each."""

    @property
    def exit_code(self) -> int:
        """0 when every run was clean, 3 when it was interrupted, 4 when a run taught nothing."""
        return EXIT_CODES["inconclusive" if self.interrupted else "error" if self.refused else "passed"]

    def to_json(self) -> bytes:
        """The raw figures as an indented JSON document."""
        document = {
            "schema": SCHEMA, "runs": len(self.runs), "wanted": self.wanted, "interrupted": self.interrupted,
            "refused": self.refused, "unstable": self.unstable, "metrics": self.table,
            "proposals": self.proposals,
        }  # fmt: skip
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def learn(result: Calibration, policy: Policy, runs: Sequence[Mapping[str, SuiteRun]]) -> None:
    """Fill in what the clean runs say, in the names of verdicts; fewer than two say nothing."""
    if len(runs) < 2:
        return
    metrics = {
        name: metric for run in runs for suite in run.values() for name, metric in suite.metrics.items()
    }
    result.table = measure_noise(runs, policy)
    result.proposals = proposals(
        result.table, policy, {noise.name: policy.rule(metrics[noise.name]) for noise in result.table}
    )
    for name in sorted(name for name, metric in metrics.items() if metric.exact):
        seen = {suite.metrics[name].value for run in runs for suite in run.values() if name in suite.metrics}
        if len(seen) > 1:
            counts = ", ".join(f"{value:g}" for value in sorted(seen))
            result.unstable.append(f"{name} is no work count: unchanged code gave {counts}")
