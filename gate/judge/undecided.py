"""What would decide what stayed open, with figures of this run. Pure."""

import math
from typing import Final

from gate.evidence import Evidence
from pytest_regression_gate.metrics import Better

_AGAIN: Final = "re-run the job, or gate check --base REF --again"
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
    if shown is None:
        return MORE_TIME
    left = shown.launches_left(better, tolerance, floor)
    if left is not None:
        minutes = math.ceil(left * shown.seconds / 60)
        return f"about {minutes} min more would decide it: {_AGAIN}" if minutes else MORE_TIME
    bearable = (
        "a limit with more room" if limit else f"a tolerance of {math.ceil(100 * shown.bearable(better))} %"
    )
    return f"more time would not decide it on a machine this noisy: a quieter one would, or {bearable}"
