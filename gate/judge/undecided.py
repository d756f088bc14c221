"""What would decide what stayed open, with figures of this run. Pure."""

import math
from typing import Final

from gate.evidence import MIN_LAUNCHES, Evidence
from pytest_regression_gate.metrics import Better

_AGAIN: Final = "re-run the job, or gate check --base REF --again"
_LONGEST: Final = 60
"""Minutes that nobody would wait."""
MORE_TIME: Final = f"give the comparison more time: {_AGAIN}, or defaults.budget"


def what_decides(
    shown: Evidence | None, better: Better, tolerance: float, floor: float = 0.0, *, limit: bool = False
) -> str:
    """What to do about an undecided metric.

    Args:
        shown: what base and head showed; None: they were not measured.
        better: which direction is better.
        tolerance: acceptable relative worsening.
        floor: acceptable absolute worsening, in the metric's unit.
        limit: the metric breaks a limit, and the tolerance is not the policy's.
    """
    if shown is None or len(shown.pairs) < MIN_LAUNCHES:
        return MORE_TIME
    left = shown.launches_left(better, tolerance, floor)
    minutes = math.ceil((left or 0) * shown.seconds / 60)
    if left is not None and minutes <= _LONGEST:
        return f"about {minutes} min more would probably decide it: {_AGAIN}" if minutes else MORE_TIME
    quieter = "more time would not decide it on a machine this noisy: a quieter one would"
    if limit:
        return f"{quieter}, or a limit with more room"
    percent = math.ceil(100 * shown.bearable(better))
    return f"{quieter}, or a tolerance of {percent} %" if 100 * tolerance < percent < 100 else quieter
