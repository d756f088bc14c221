"""What the rounds of one launch say about each statistic of an operation. Pure."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Final

from gate.evidence import ONE_SHOT_ERROR, Pair
from pytest_regression_gate.worker import SPREAD

STEADY: Final = 1.25
"""Spread below which single calls do not move the median of their round. Beside busy loops half of the
rounds of one operation had up to 1.16; a third of the calls at twice the time make it 2."""
_AVERAGES: Final = frozenset({"mean", "cpu"})
_FEW: Final = {2: 1.196, 3: 1.495, 4: 1.363, 5: 1.206, 6: 1.200, 7: 1.140, 8: 1.129, 9: 1.107}
"""By how much the median absolute deviation of so many values is too small."""

Values = Mapping[str, float]
"""By statistic."""


def paired(
    rounds: Sequence[tuple[Values, Values]], blocks: Sequence[tuple[Values, Values]] = ()
) -> dict[str, Pair]:
    """What both sides measured, as one ratio per statistic with its standard error.

    A spell of the machine is as long as some rounds and makes everything in them slower. The median of the
    rounds passes over it. An average must not pass over anything, since what an operation does now and then
    would go unseen with it: it is the mean of all rounds on both sides. Where most calls of a round take
    the same time (`STEADY`), its median tells how fast the machine was then, whatever single calls do, and
    the average is taken as the median times the mean of how many times the median it was. A tail or a
    standard deviation is such a multiple from the start.

    Args:
        rounds: (base, head) in each round. Rounds are short, so that both sides meet the same machine.
        blocks: the same over several rounds each: tails and spreads, as multiples of the median.

    Returns:
        By statistic; without those of which a value has no logarithm.
    """
    values = _by_statistic(rounds)
    steady = median(max(pair) for pair in values.pop(SPREAD, [(math.inf, math.inf)])) < STEADY
    found = {
        statistic: (_ratio_of_means if statistic in _AVERAGES else ratio_of_medians)(pairs)
        for statistic, pairs in values.items()
    }
    if middle := found.get("p50"):
        for statistic in _AVERAGES & values.keys() if steady else ():
            both = zip(values[statistic], values["p50"], strict=True)
            found[statistic] = _product(middle, _ratio_of_means([(b / x, a / y) for (b, a), (x, y) in both]))
        for statistic, pairs in _by_statistic(blocks).items():
            found[statistic] = _product(middle, ratio_of_medians(pairs))
    return {statistic: pair for statistic, pair in found.items() if pair}


def ratio_of_medians(values: Sequence[tuple[float, float]]) -> Pair | None:
    """The median ratio of (base, head) values; None where a value has no logarithm.

    The standard error of a median is 1.2533 times that of the mean for normal noise; its spread is taken
    from the median absolute deviation (e.g. Huber & Ronchetti, "Robust Statistics", ch. 1), which is too
    small for few values (factors: Croux & Rousseeuw 1992, "Time-efficient algorithms for two highly robust
    estimators of scale").
    """
    if not _positive(values):
        return None
    ratios = [math.log(after / before) for before, after in values]
    ratio = median(ratios)
    number = len(ratios)
    spread = 1.4826 * _FEW.get(number, number / (number - 0.8)) * median(abs(r - ratio) for r in ratios)
    error = 1.2533 * spread / math.sqrt(number) if number > 1 else ONE_SHOT_ERROR
    return Pair(ratio, error, median(before for before, _ in values), number)


def _ratio_of_means(values: Sequence[tuple[float, float]]) -> Pair | None:
    """The ratio of the means of (base, head) values; None where a value has no logarithm.

    Its standard error is that of a ratio estimator: of the mean difference between both values, each as a
    share of its mean (e.g. Cochran, "Sampling Techniques", ch. 6).
    """
    if not _positive(values):
        return None
    before, after = fmean(before for before, _ in values), fmean(after for _, after in values)
    differences = [b / after - a / before for a, b in values]
    error = stdev(differences) / math.sqrt(len(values)) if len(values) > 1 else ONE_SHOT_ERROR
    return Pair(math.log(after / before), error, before, len(values))


def _product(one: Pair, other: Pair | None) -> Pair | None:
    if other is None:
        return None
    error, rounds = math.hypot(one.error, other.error), min(one.rounds, other.rounds)
    return Pair(one.ratio + other.ratio, error, one.base * other.base, rounds)


def _positive(values: Sequence[tuple[float, float]]) -> bool:
    return all(min(pair) > 0 and math.isfinite(max(pair)) for pair in values)


def _by_statistic(rounds: Sequence[tuple[Values, Values]]) -> dict[str, list[tuple[float, float]]]:
    """What both sides measured in every round."""
    return {
        statistic: [(before[statistic], after[statistic]) for before, after in rounds]
        for statistic in (rounds[0][1] if rounds else ())
        if all(statistic in side for pair in rounds for side in pair)
    }
