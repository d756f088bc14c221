"""Where a series of accepted runs changed its level. Pure functions on numbers.

Optimal partitioning (Jackson et al. 2005, "An algorithm for optimal partitioning of data on an
interval", IEEE Signal Processing Letters 12(2)): of all ways to cut the series, the one with the least
cost plus a penalty per cut. A segment costs the squared distances from its median in units of the noise,
each bounded, so that an outlier buys no cut of its own (the bounded loss of Fearnhead & Rigaill 2019,
"Changepoint detection in the presence of outliers", JASA 114). Two values cost at most 18, a cut at least
18.8: so a level has three runs or more. Exact and deterministic.
"""

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from gate.statistics import shift

LEAST_NOISE: Final = 1e-3
"""Noise (sd of the log) below which no series is believed to be: rounding hides the rest."""
_FEWEST: Final = 5
"""Fewer values than this have no change points: nothing tells a step from noise."""
_OUTLIER: Final = 3.0
"""A distance in units of the noise beyond which a value costs no more."""


@dataclass(frozen=True)
class Step:
    """A change of level between two runs."""

    index: int
    """The first run of the new level."""
    before: float
    """Median of the level before, in the metric's unit."""
    after: float
    """Median of the level from here to the next step."""

    @property
    def change(self) -> float:
        """Relative change of the value; infinite from a level of zero."""
        return (self.after - self.before) / abs(self.before) if self.before else math.inf


def noise(values: Sequence[float]) -> float:
    """How far a series moves from run to run beside its trend: sd of the log, robust, 0 below 3 values.

    1.4826 * MAD of the successive differences about their median, over sqrt(2): a step or a steady creep
    moves few differences or all alike, so it does not count as noise (von Neumann's idea, made robust).
    """
    scaled = _scaled(values)
    if len(scaled) < 3:
        return 0.0
    moves = [after - before for before, after in pairwise(scaled)]
    centre = median(moves)
    return 1.4826 * median(abs(move - centre) for move in moves) / math.sqrt(2)


def change_points(values: Sequence[float]) -> tuple[Step, ...]:
    """The steps of a series in order of time; none in fewer than 5 values.

    Values are compared on the log scale, or as shares of the centre where one is not positive.
    """
    scaled = _scaled(values)
    if len(scaled) < _FEWEST:
        return ()
    scale = max(noise(values), LEAST_NOISE)
    cuts = _partition([value / scale for value in scaled], penalty(len(values)))
    edges = [0, *cuts, len(values)]
    levels = [median(values[start:end]) for start, end in pairwise(edges)]
    return tuple(Step(cut, *around) for cut, around in zip(cuts, pairwise(levels), strict=True))


def penalty(count: int) -> float:
    """What a cut costs, in units of the noise's variance.

    Of the form of the BIC, whose price for a cut (a place and a level) is 2 * log n; dearer because the
    place is searched for and the noise estimated, most of all in a short series. The two factors are set by
    simulation; docs/architecture.md says what they give.
    """
    return 5.0 * math.log(count) + 80.0 / count


def _scaled(values: Sequence[float]) -> list[float]:
    """Values on the scale of `shift` against their median; empty where one is infinitely far from it."""
    centre = median(values) if values else 0.0
    scaled = [shift((centre,), value, "lower") for value in values]
    return scaled if all(map(math.isfinite, scaled)) else []


def _partition(values: Sequence[float], price: float) -> list[int]:
    """First indices of all segments but the first, for the cheapest partition."""
    count = len(values)
    best = [-price] + [math.inf] * count
    last = [0] * (count + 1)
    for start in range(count):
        ordered: list[float] = []
        for end in range(start + 1, count + 1):
            insort(ordered, values[end - 1])
            total = best[start] + price + _cost(ordered)
            if total < best[end]:
                best[end], last[end] = total, start
    cuts: list[int] = []
    end = count
    while last[end]:
        end = last[end]
        cuts.append(end)
    return cuts[::-1]


def _cost(ordered: Sequence[float]) -> float:
    half, odd = divmod(len(ordered), 2)
    centre = ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2
    return math.fsum(min((value - centre) ** 2, _OUTLIER**2) for value in ordered)
