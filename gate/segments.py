"""The present level of a metric: a window that holds an accepted step is no mix of old and new. Pure.

A new segment begins where a change was accepted. Its revert is rarely announced, so after an accepted step
the series itself tells of further ones. A segment whose level is that of the present one belongs to it:
what was reverted is over.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from gate.changepoints import LEAST_NOISE, change_points, noise

_ASSUMED: Final = 0.02
"""Noise (sd of the log) inside segments that are all too short to show it."""
_ALIKE: Final = 3.0
"""Levels that differ by less than this many standard errors are one level."""


@dataclass(frozen=True)
class Level:
    """A history as if it had always been at its present level."""

    values: tuple[float, ...]
    """As many as the history has, in the metric's unit: those of other levels are scaled to the present one,
    so that they tell how far the metric moves."""
    runs: int
    """How many of them were measured at the present level."""
    segments: int = 1
    """Into how many levels the history falls."""


def present_level(values: Sequence[float], accepted: Collection[int] = ()) -> Level:
    """Find the segments of a history and bring all of them to the level of the last one.

    Args:
        values: of the accepted runs, oldest first, at least one.
        accepted: indices of runs that began a new level, as somebody accepted it.
    """
    cuts = _cuts(values, accepted)
    if not cuts:
        return Level(tuple(values), len(values))
    parts = [values[start:end] for start, end in pairwise((0, *cuts, len(values)))]
    present = [part for part in parts if _alike(part, parts[-1], _spread(parts))]
    centre = median(value for part in present for value in part)
    scaled: list[float] = []
    for part in parts:
        old = median(part)
        factor = 1.0 if part in present or old <= 0 or centre <= 0 else centre / old
        scaled += [factor * value for value in part]
    return Level(tuple(scaled), sum(map(len, present)), 1 + len(parts) - len(present))


def _cuts(values: Sequence[float], accepted: Collection[int]) -> list[int]:
    marks = sorted({index for index in accepted if 0 < index < len(values)})
    if not marks:
        return []
    parts = pairwise((0, *marks, len(values)))
    steps = {start + step.index for start, end in parts for step in change_points(values[start:end])}
    return sorted({*marks, *steps})


def _spread(parts: Sequence[Sequence[float]]) -> float:
    """Noise inside the segments, sd of the log, pooled over those that are long enough to show any."""
    known = [(len(part), noise(part)) for part in parts if len(part) > 2]
    total = sum(count for count, _ in known)
    return max(math.sqrt(sum(c * sd * sd for c, sd in known) / total), LEAST_NOISE) if total else _ASSUMED


def _alike(one: Sequence[float], other: Sequence[float], spread: float) -> bool:
    if one is other:
        return True
    before, after = median(one), median(other)
    if before <= 0 or after <= 0:
        return before == after
    error = spread * math.sqrt(math.pi / 2 * (1 / len(one) + 1 / len(other)))
    return abs(math.log(after / before)) < _ALIKE * error
