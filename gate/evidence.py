"""What repeated launches say about one metric: the paired comparison of base and head. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from gate.model import Better
from gate.statistics import t_quantile

PRIOR_SPREAD: Final = 0.01
"""Spread of the log-ratio from launch to launch that is assumed before any was seen."""
PRIOR_LAUNCHES: Final = 3.0
"""How many launches' worth of evidence that assumption counts for."""
ERROR_RATE: Final = 0.01
"""Chance that a pull request without any change gets a confirmed regression, over all its metrics."""
MAX_LOOKS: Final = 10
"""How often a metric may be looked at; the error rate is shared among the looks."""
MIN_LAUNCHES: Final = 3

Decision = Literal["confirmed", "cleared", "inconclusive"]


@dataclass(frozen=True)
class Evidence:
    """The comparison of one metric after some launches. Ratios are log(head / base)."""

    metric: str
    ratios: tuple[float, ...]
    estimate: float
    low: float
    high: float

    @property
    def change(self) -> float:
        """Estimated relative change, positive when the value grew."""
        return math.expm1(self.estimate)

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the relative change."""
        return math.expm1(self.low), math.expm1(self.high)

    def decide(self, better: Better, tolerance: float) -> Decision:
        """Confirmed: surely worse, and by more than the tolerance. Cleared: surely not that much worse.

        Args:
            better: which direction is better.
            tolerance: acceptable relative worsening, 0.1 for 10 %.
        """
        if len(self.ratios) < MIN_LAUNCHES:
            return "inconclusive"
        estimate, low, high = self.estimate, self.low, self.high
        if better == "higher":
            estimate, low, high = -estimate, -high, -low
            acceptable = -math.log1p(-min(tolerance, 0.999))
        else:
            acceptable = math.log1p(tolerance)
        if low > 0 and estimate > acceptable:
            return "confirmed"
        return "cleared" if high < acceptable else "inconclusive"


def weigh(metric: str, ratios: Sequence[float], metrics: int) -> Evidence:
    """Estimate and confidence interval from the log-ratios of launches, at least one.

    The unit is the launch: its rounds share a memory layout and are not independent. The interval is
    Student's for the mean, with the spread moderated by a prior as in `gate.statistics.screen`. Each look
    and each metric gets an equal part of `ERROR_RATE` (Bonferroni), so stopping early costs nothing extra.

    Args:
        metric: its name.
        ratios: log(head / base), one per launch.
        metrics: how many metrics are compared in this pull request.
    """
    estimate = math.fsum(ratios) / len(ratios)
    degrees = len(ratios) - 1
    squares = math.fsum((ratio - estimate) ** 2 for ratio in ratios)
    total = PRIOR_LAUNCHES + degrees
    spread = math.sqrt((PRIOR_LAUNCHES * PRIOR_SPREAD**2 + squares) / total)
    error = ERROR_RATE / (max(1, metrics) * MAX_LOOKS)
    margin = t_quantile(1 - error, total) * spread / math.sqrt(len(ratios))
    return Evidence(metric, tuple(ratios), estimate, estimate - margin, estimate + margin)


def spread(evidence: Evidence) -> float:
    """How far launches lie apart: median absolute deviation from their median, scaled to a sd."""
    centre = median(evidence.ratios)
    return 1.4826 * median(abs(ratio - centre) for ratio in evidence.ratios)
