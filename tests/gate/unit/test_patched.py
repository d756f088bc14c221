"""What tests put in the place of clocks and threads does not reach the measurements."""

import time

import pytest

from pytest_regression_gate.latency import PerformanceBaseline, Turns
from pytest_regression_gate.resources import ResourceUsage


def test_frozen_time_stops_no_measurement(monkeypatch: pytest.MonkeyPatch):
    """As freezegun does it: what takes time is measured all the same."""
    wait = time.sleep
    for name in ("perf_counter", "perf_counter_ns", "monotonic", "process_time", "time"):
        monkeypatch.setattr(time, name, lambda: 1)
    recorder = PerformanceBaseline("x")
    for _ in Turns(iterations=3, warmup=0, seconds=0.0).fill(recorder):
        wait(0.001)
    assert recorder.p50 >= 1
    with ResourceUsage() as usage:
        wait(0.001)
    assert usage.cpu is not None
