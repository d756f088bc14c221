"""What tests put in the place of clocks and threads does not reach the measurements."""

import _thread
import threading
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


def test_memory_is_watched_by_a_thread_of_the_machine(monkeypatch: pytest.MonkeyPatch):
    """gevent's would run only while the block waits for something."""
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: 0)
    monkeypatch.setattr(threading.Thread, "start", lambda _: None)
    monkeypatch.setattr(threading.Thread, "join", lambda _: None)
    end = time.monotonic() + 10
    with ResourceUsage() as usage:
        while usage.samples < 3 and time.monotonic() < end:
            time.sleep(0.01)
    assert usage.samples > 3
