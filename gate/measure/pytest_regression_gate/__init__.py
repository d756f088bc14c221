"""What runs inside a test process: the pytest plugin and the `measure` fixture.

Its name is one that no project has: `gate`, the name of the command, is one that projects do have.
"""

from pytest_regression_gate.latency import PerformanceBaseline
from pytest_regression_gate.load import LoadTestMetrics
from pytest_regression_gate.recorder import Measure
from pytest_regression_gate.resources import ResourceUsage

__all__ = ["LoadTestMetrics", "Measure", "PerformanceBaseline", "ResourceUsage"]
