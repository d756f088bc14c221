"""What pytest-benchmark timed, as a measurement of the gate."""

import math

from pytest_regression_gate.metrics import Measurement, label_of_test


def timed_by_benchmark(nodeid: str, fixture: object) -> Measurement | None:
    """The median of the rounds, in seconds per call; None: nothing was timed.

    Args:
        nodeid: the test.
        fixture: its `benchmark` after the test; another plugin's has no figures.
    """
    statistics = getattr(getattr(fixture, "stats", None), "stats", None)
    rounds, seconds = getattr(statistics, "rounds", 0), getattr(statistics, "median", math.nan)
    if not isinstance(rounds, int) or not isinstance(seconds, float) or not rounds or not seconds >= 0:
        return None
    return Measurement("benchmark.median", "s", labels=label_of_test(nodeid), value=seconds, count=rounds)
