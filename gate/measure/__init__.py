"""Measuring inside the suites: what the `measure` fixture is made of."""

from gate.measure.latency import PerformanceBaseline
from gate.measure.load import LoadTestMetrics
from gate.measure.recorder import Measure
from gate.measure.resources import ResourceUsage

__all__ = ["LoadTestMetrics", "Measure", "PerformanceBaseline", "ResourceUsage"]
