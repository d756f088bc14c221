"""What pytest-benchmark timed, as a measurement of the gate."""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_regression_gate.metrics import Measurement

_PLUGINS: Final = frozenset({"pytest_benchmark", "pytest_codspeed"})
"""Whose fixture is called `benchmark`; the figures of the former can be read."""


def is_benchmark(fixture: object) -> bool:
    """Whether it is the fixture of a plugin that times, and none of the project."""
    return type(fixture).__module__.partition(".")[0] in _PLUGINS


def timed_by_benchmark(nodeid: str, fixture: Any) -> "Measurement | None":  # noqa: ANN401 - it has no types
    """The median of the rounds, in seconds per call; None: nothing was timed.

    Args:
        nodeid: the test.
        fixture: its `benchmark` after the test.
    """
    from pytest_regression_gate.metrics import Measurement, label_of_test

    statistics: Any = getattr(getattr(fixture, "stats", None), "stats", None)
    rounds = getattr(statistics, "rounds", 0)
    if not isinstance(rounds, int) or not rounds:
        return None
    seconds = float(statistics.median)
    return Measurement("benchmark.median", "s", labels=label_of_test(nodeid), value=seconds, count=rounds)
