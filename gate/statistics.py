"""Screening: does a new value fit the history of accepted runs? Pure functions on numbers.

Everything works on the log scale where values are positive, because noise on shared machines is
proportional to the value, and a change of the log is a relative change whatever the unit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final

from gate.model import Better

PRIOR_SD: Final = 0.06
"""Noise between runs (sd of the log) that is assumed before there is a history: hosted and shared
runners show 3-15 % on the same code."""
PRIOR_RUNS: Final = 4.0
"""How many runs' worth of evidence the prior counts for."""
FALSE_ALARMS: Final = 0.02
"""Accepted rate of runs of unchanged code with at least one suspect, over all metrics."""
_WILD: Final = 1e6
"""A spread beyond which a history says nothing: it leaps between zero and something."""
MIN_COMMON: Final = 8
"""Fewer metrics than this say nothing about the machine as a whole."""


@dataclass(frozen=True)
class Screened:
    """What history says about one new value."""

    centre: float
    """Median of the accepted runs, in the metric's unit."""
    change: float
    """Relative change of the value against the centre, positive when it grew."""
    worse: float
    """How much worse, on the log scale, after the whole machine's shift was taken out; negative: better."""
    bound: float
    """How much worse one run of unchanged code may look, on the same scale."""
    runs: int
    linear: bool = False
    """Values without a logarithm: `worse` and `bound` are shares of the centre."""

    def relative(self, better: Better) -> float:
        """The worsening as a share of the centre; infinite from a centre of zero."""
        if self.linear or not math.isfinite(self.worse):
            return self.worse
        return math.expm1(min(self.worse, 700.0)) if better == "lower" else -math.expm1(-self.worse)

    @property
    def suspect(self) -> bool:
        """Worse than noise explains."""
        return self.worse > self.bound

    @property
    def improved(self) -> bool:
        """Better than noise explains."""
        return -self.worse > self.bound

    @property
    def visible(self) -> float:
        """The smallest relative worsening that this history can see."""
        return self.bound if self.linear else math.expm1(min(self.bound, 700.0))


def shift(history: Sequence[float], value: float, better: Better) -> float:
    """How much worse a value is than the median of its history, on the log scale.

    Zero or negative numbers have no logarithm: then the difference relative to the centre is taken,
    and any change from a centre of exactly zero is infinite.
    """
    centre = median(history)
    sign = 1.0 if better == "lower" else -1.0
    if centre > 0 and value > 0:
        return sign * math.log(value / centre)
    if value == centre:
        return 0.0
    return sign * (math.copysign(math.inf, value - centre) if centre == 0 else (value - centre) / abs(centre))


def common_shift(shifts: Sequence[float]) -> float:
    """How much slower the whole machine was, on the log scale: the median shift of all its metrics.

    A machine that was faster is not corrected for: that could only make unchanged code look slow.
    Fewer than `MIN_COMMON` metrics, or fewer than half of them worse, give 0.
    """
    finite = [value for value in shifts if math.isfinite(value)]
    return max(0.0, median(finite)) if len(finite) >= MIN_COMMON else 0.0


def pooled_noise(histories: Sequence[Sequence[float]]) -> float:
    """How far metrics of this environment move from run to run: sd of the log, over all of them.

    A noisy neighbour slows a few seconds of a run and hits other metrics each time. One metric's own
    history rarely shows it, all histories together do; so this is the prior of each (the empirical Bayes
    step of Smyth 2004). The wildest tenth is left out: a metric near zero must not make the others blind.
    Never below `PRIOR_SD`, which also stands for an empty history.
    """
    variances: list[float] = []
    for history in histories:
        moves = [shift(history, value, "lower") for value in history]
        if len(history) > 1 and all(map(math.isfinite, moves)):
            variances.append(math.fsum(move * move for move in moves) / (len(history) - 1))
    kept = sorted(variances)[: math.ceil(0.9 * len(variances))] if len(variances) > 2 else variances
    return max(PRIOR_SD, math.sqrt(math.fsum(kept) / len(kept)) if kept else 0.0)


def screen(
    history: Sequence[float],
    value: float,
    better: Better,
    *,
    common: float = 0.0,
    metrics: int = 1,
    prior: float = PRIOR_SD,
) -> Screened:
    """Ask whether a new value is one more run of the same code.

    A prediction interval for one new observation, one-sided: `t * s * sqrt(1 + 1/n)` (e.g. Hahn & Meeker,
    "Statistical Intervals", ch. 4). The scale s is the robust 1.4826 * MAD of the history, moderated
    with a prior as in Smyth (2004), "Linear models and empirical Bayes methods", eq. 3:
    s^2 = (d0*s0^2 + d*s_mad^2) / (d0 + d) with d0 + d degrees of freedom. So one run is enough to judge
    coarsely, and more runs sharpen it. The error rate is divided by the number of metrics (Bonferroni).

    Args:
        history: values of accepted runs, at least one, any order.
        value: the new run's.
        better: which direction is better.
        common: what `common_shift` found, taken out of the worsening.
        metrics: how many metrics are screened in this run.
        prior: what `pooled_noise` found.
    """
    centre = median(history)
    degrees = len(history) - 1
    spread = 1.4826 * median(abs(shift(history, other, "lower")) for other in history)
    spread = min(spread, _WILD)
    total = PRIOR_RUNS + degrees
    scale = math.sqrt((PRIOR_RUNS * prior**2 + degrees * spread**2) / total)
    bound = t_quantile(1 - FALSE_ALARMS / max(1, metrics), total) * scale * math.sqrt(1 + 1 / len(history))
    change = value / centre - 1 if centre > 0 else shift(history, value, "lower")
    return Screened(
        centre=centre,
        change=change,
        worse=shift(history, value, better) - common,
        bound=bound,
        runs=len(history),
        linear=centre <= 0 or value <= 0,
    )


def t_quantile(p: float, degrees: float) -> float:
    """The p-quantile of Student's t distribution, 0.5 <= p < 1, to about four digits from 3 degrees on.

    Hill (1970), "Algorithm 396: Student's t-quantiles", Communications of the ACM 13(10).
    """
    if p == 0.5:
        return 0.0
    tail = 2 * (1 - p)
    n = degrees
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * tail) ** (2 / n)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(1 - tail / 2)
        y = x * x
        if n < 5:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (
            n + 1
        ) / (n + 2) + 1 / y
    return math.sqrt(n * y)


def needed_for(statistic: str) -> int:
    """How many measurements a percentile needs before it says something: 20 / (1 - p); others need one.

    Twenty values beyond the percentile: 40 requests for p50, 400 for p95, 2,000 for p99.
    """
    quantile = {"p50": 0.50, "p95": 0.95, "p99": 0.99}.get(statistic)
    return 1 if quantile is None else round(20 / (1 - quantile))


def enough_for(statistic: str, count: int) -> bool:
    """Whether a high percentile rests on enough measurements to be compared. Other statistics always do."""
    return statistic not in {"p95", "p99"} or count >= needed_for(statistic)
