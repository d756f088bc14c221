"""What runs inside a test process: the pytest plugin and the `measure` fixture.

Its name is one that no project has: `gate`, the name of the command, is one that projects do have. What it
offers is loaded when it is asked for, since every process of a comparison loads this package.
"""

TYPE_CHECKING = False  # as in `typing`, whose import takes longer than all that is here
if TYPE_CHECKING:
    from pytest_regression_gate.latency import PerformanceBaseline
    from pytest_regression_gate.load import LoadTestMetrics
    from pytest_regression_gate.recorder import Measure
    from pytest_regression_gate.resources import ResourceUsage

__all__ = ["LoadTestMetrics", "Measure", "PerformanceBaseline", "ResourceUsage"]

_WHERE = {
    "LoadTestMetrics": "load",
    "Measure": "recorder",
    "PerformanceBaseline": "latency",
    "ResourceUsage": "resources",
}


def __getattr__(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415 - rarely needed

    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
