"""Screening: does a new value fit the history of accepted runs? Pure functions on numbers.

Everything works on the log scale where values are positive, because noise on shared machines is
proportional to the value, and a change of the log is a relative change whatever the unit.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final, NamedTuple, TypeGuard

from gate.model import needed_for
from pytest_regression_gate.metrics import Better, quantile

PRIOR_SD: Final = 0.06
"""Noise between runs (sd of the log) that is assumed before there is a history: hosted and shared
runners show 3-15 % on the same code."""
PRIOR_RUNS: Final = 4.0
"""How many runs' worth of evidence the prior counts for."""
FALSE_ALARMS: Final = 0.02
"""Accepted rate of runs of unchanged code with at least one suspect, over all metrics."""
_WILD: Final = 1e6
"""A spread beyond which a history says nothing: it leaps between zero and something."""
TAIL_DEGREES: Final = 6.0
"""Noise between runs has heavy tails however long the history: standardised, it follows Student's t with
about six degrees of freedom (docs/calibration), so no bound is taken from a thinner one."""
LEARNED_WEIGHT: Final = 0.04**2
"""Sum of squared common moves that a history must show before it is believed as much as the assumption
that a metric does not follow the others."""
WHOLE_WEIGHT: Final = 20 * 0.05**2
"""The same for the assumption that a slower machine slows everything: twenty runs with 5 % in common."""
_LEAP: Final = 0.5
_NORMAL_80: Final = NormalDist().inv_cdf(0.9)
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
    """Accepted runs at the present level."""
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

    def improved(self, gift: float = 0.0) -> bool:
        """Better than noise explains, and than a machine that was faster by `gift` (log scale)."""
        return -self.worse - gift > self.bound

    @property
    def visible(self) -> float:
        """The smallest relative worsening that this history can see."""
        return self.bound if self.linear else math.expm1(min(self.bound, 700.0))


def shift(history: Sequence[float], value: float, better: Better) -> float:
    """How much worse a value is than the median of its history, on the log scale.

    Zero, or next to it, and negative numbers have no logarithm: then the difference relative to the centre is
    taken, and any change from a centre of exactly zero is infinite.
    """
    centre = median(history)
    sign = 1.0 if better == "lower" else -1.0
    if centre > 0 and value / centre > 0:
        return sign * math.log(value / centre)
    if value == centre:
        return 0.0
    return sign * (math.copysign(math.inf, value - centre) if centre == 0 else (value - centre) / abs(centre))


def moves(history: Sequence[float], better: Better) -> list[float]:
    """How much worse each accepted run was than their median: `shift` of every value, kept finite."""
    centre = (median(history),)
    return [max(-_WILD, min(_WILD, shift(centre, value, better))) for value in history]


def common_shift(shifts: Sequence[float]) -> float:
    """How much slower the whole machine was, on the log scale: the median shift of all its metrics.

    Never negative: a faster machine is not worth a word. Fewer than `MIN_COMMON` metrics, or fewer than
    half of them worse, give 0.
    """
    finite = [value for value in shifts if math.isfinite(value)]
    return max(0.0, median(finite)) if len(finite) >= MIN_COMMON else 0.0


@dataclass(frozen=True)
class Share:
    """The machine's part in one metric, learned from the other metrics of its suite."""

    expected: float
    """How much worse the new value should be because the machine was, on the log scale."""
    moves: tuple[float, ...]
    """The history's moves without the machine's part, one per accepted run of the metric."""


class Common(NamedTuple):
    """What the metrics of one run moved in common."""

    move: float
    """The median of their moves; 0 without any."""
    metrics: int
    """How many there were."""


class Moves:
    """What many metrics moved in one run, sorted once: each can ask for the median of the others."""

    def __init__(self, moves: Iterable[tuple[str, float | None]]) -> None:
        """Take subject and move of every metric; None where it was not measured."""
        known = sorted((_clip(move), subject) for subject, move in moves if _is_known(move))
        self._values = [move for move, _ in known]
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, (_, subject) in enumerate(known):
            self._places[subject].append(place)

    def without(self, subject: str) -> Common:
        """What all metrics but those of one subject moved in common."""
        gone = self._places.get(subject, [])
        left = len(self._values) - len(gone)
        if not left:
            return Common(0.0, 0)
        low, high = (self._values[_nth(rank, gone)] for rank in ((left - 1) // 2, left // 2))
        return Common((low + high) / 2, left)


def _nth(rank: int, gone: Sequence[int]) -> int:
    """The place of the n-th of those that are left, given the places that are gone, in order."""
    for place in gone:
        if place > rank:
            break
        rank += 1
    return rank


def machine_share(own: Sequence[float], others: Sequence[Common]) -> Share:
    """Take out of one metric what it has in common with the others of its suite.

    The common factor of a run is the median move of the *other* metrics: their own value cannot hide a
    metric's worsening. How far this metric follows the factor is a regression through zero over the
    accepted runs, shrunk (ridge: Hoerl & Kennard 1970, Technometrics 12(1)) towards not following at all:
    two slow tests are then two suspects, unless history has shown that they are slow together. Where
    `MIN_COMMON` metrics, this one included, speak for the machine and it was slower, the slope is shrunk
    towards one instead: a machine of 130 % is no news about the code even if no accepted run saw one. A
    faster machine is corrected for only as far as history taught. The slope is kept between 0 and 1. What is
    left of the history does not depend on the new run.

    Args:
        own: the metric's moves, positive is worse, oldest run first.
        others: for each of those runs, and last for the new run, what the other metrics moved in common.
            Length `len(own) + 1`.
    """
    factors = [common.move for common in others]
    together = math.fsum(_clip(move) * factor for move, factor in zip(own, factors, strict=False))
    square = math.fsum(factor**2 for factor in factors[:-1])
    learned = _share_of_one(together / (square + LEARNED_WEIGHT))
    whole = factors[-1] > 0 and others[-1].metrics >= MIN_COMMON - 1
    slope = _share_of_one((together + WHOLE_WEIGHT) / (square + WHOLE_WEIGHT)) if whole else learned
    rest = tuple(move - learned * factor for move, factor in zip(own, factors, strict=False))
    return Share(slope * factors[-1], rest)


def _share_of_one(slope: float) -> float:
    return max(0.0, min(1.0, slope))


def _is_known(move: float | None) -> TypeGuard[float]:
    return move is not None and math.isfinite(move)


def _clip(move: float) -> float:
    """One wild run must not decide a slope."""
    return max(-_LEAP, min(_LEAP, move))


def spread_of(rest: Sequence[float]) -> float:
    """Noise between runs, sd of the log: the 80 % point of the distances from the median, as a normal's.

    Shared machines are calm for most runs and noisy in bursts. The usual 1.4826 * MAD looks at the calm
    half alone and calls each burst a change. On recorded histories the 80 % point sees clearly more at the
    same false alarms (docs/calibration), as much as a standard deviation, which one wild run would inflate.
    """
    middle = median(rest)
    return min(quantile(sorted(abs(move - middle) for move in rest), 0.8) / _NORMAL_80, _WILD)


def pooled_noise(histories: Sequence[Sequence[float]]) -> float:
    """How far metrics of one suite move from run to run: sd of the log, over all of them.

    A noisy neighbour slows a few seconds of a run and hits other metrics each time. One metric's own
    history rarely shows it, all histories together do; so this is the prior of each (the empirical Bayes
    step of Smyth 2004). The wildest tenth is left out: a metric near zero must not make the others blind.
    Never below `PRIOR_SD`, which also stands for an empty history.

    Args:
        histories: for each metric its moves, as `moves` or `machine_share` give them.
    """
    variances = [
        math.fsum(move * move for move in history) / (len(history) - 1)
        for history in histories
        if len(history) > 1 and max(map(abs, history)) < _WILD
    ]
    kept = sorted(variances)[: math.ceil(0.9 * len(variances))] if len(variances) > 2 else variances
    return max(PRIOR_SD, math.sqrt(math.fsum(kept) / len(kept)) if kept else 0.0)


def screen(
    history: Sequence[float],
    value: float,
    better: Better,
    *,
    share: Share | None = None,
    metrics: int = 1,
    prior: float = PRIOR_SD,
    at_level: int | None = None,
    segments: int = 1,
) -> Screened:
    """Ask whether a new value is one more run of the same code.

    A prediction interval for one new observation, one-sided: `t * s * sqrt(1 + 1/n)` (e.g. Hahn & Meeker,
    "Statistical Intervals", ch. 4). The scale s is that of the history (`spread_of`), moderated with a
    prior as in Smyth (2004), "Linear models and empirical Bayes methods", eq. 3:
    s^2 = (d0*s0^2 + d*s_n^2) / (d0 + d), with d0 + d degrees of freedom but never more than
    `TAIL_DEGREES`. The error rate is divided by the number of metrics (Bonferroni).

    What it does with few runs: one run is judged by the prior alone (a single metric: +29 % is visible);
    two runs begin to show noise (+20 %); with three and four it weighs up to 43 %; from five on the metric's
    own noise weighs half and more (+13 % in a calm history). Nothing here depends on the order of the runs:
    an average that favours young runs was measured and saw no more.

    Args:
        history: values of accepted runs, at least one, any order.
        value: the new run's.
        better: which direction is better.
        share: what `machine_share` found for this history; `None`: nothing is in common.
        metrics: how many metrics are screened in this run.
        prior: what `pooled_noise` found.
        at_level: how many of the values were measured at the present level; the others were scaled to it and
            tell of the noise alone. None: all.
        segments: how many levels the history had; each costs a degree of freedom.
    """
    runs = len(history) if at_level is None else at_level
    centre = median(history)
    rest = share.moves if share else moves(history, better)
    spread = spread_of(rest)
    degrees = len(history) - segments
    total = PRIOR_RUNS + degrees
    scale = math.sqrt((PRIOR_RUNS * prior**2 + degrees * spread**2) / total)
    quantile_t = t_quantile(1 - FALSE_ALARMS / max(1, metrics), min(TAIL_DEGREES, total))
    change = value / centre - 1 if centre > 0 else shift(history, value, "lower")
    return Screened(
        centre=centre,
        change=change,
        worse=shift(history, value, better) - (share.expected if share else 0.0) - median(rest),
        bound=quantile_t * scale * math.sqrt(1 + 1 / runs),
        runs=runs,
        linear=centre <= 0 or value <= 0,
    )


def t_quantile(p: float, degrees: float) -> float:
    """The p-quantile of Student's t distribution, 0.5 <= p < 1, to 0.05 % or better from 2 degrees on.

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


def least_in_block(statistic: str) -> int:
    """How many measurements one of many blocks needs for a percentile: two beyond it, 2 / (1 - p).

    With fewer, interpolation makes it a value of the middle in most blocks, whatever the tail does. A spread
    needs ten, everything else one.
    """
    if statistic == "std":
        return 10
    return needed_for(statistic) // 10 if statistic in {"p95", "p99"} else 1
