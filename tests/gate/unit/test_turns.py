"""How often `measure` calls an operation, and what it makes of short calls."""

from types import SimpleNamespace

import pytest

from pytest_regression_gate import latency
from pytest_regression_gate.latency import GROUP_SECONDS, PerformanceBaseline, Turns


class Machine:
    """A clock that costs something to read, and an operation that moves it."""

    def __init__(self, seconds: float, reading: float) -> None:
        self.now = 0.0
        self.seconds, self.reading = seconds, reading
        self.calls = 0

    def read(self) -> float:
        self.now += self.reading
        return self.now

    def call(self) -> None:
        self.calls += 1
        self.now += self.seconds


def measured(monkeypatch: pytest.MonkeyPatch, machine: Machine, turns: Turns) -> PerformanceBaseline:
    clock = SimpleNamespace(
        perf_counter=machine.read,
        perf_counter_ns=lambda: round(machine.read() * 1e9),
        process_time=lambda: machine.now,
    )
    monkeypatch.setattr(latency, "Clock", clock)
    recorder = PerformanceBaseline("x")
    for calls in turns.fill(recorder):
        for _ in range(calls):
            machine.call()
    return recorder


@pytest.mark.parametrize("seconds", [40e-9, 0.21e-6, 4e-6, 9e-6, 11e-6, 1e-3])
def test_reading_the_clock_is_no_part_of_a_call(monkeypatch: pytest.MonkeyPatch, seconds: float):
    recorder = measured(monkeypatch, Machine(seconds, reading=60e-9), Turns())
    assert recorder.mean == pytest.approx(seconds * 1e3, rel=0.01)
    assert recorder.cpu == pytest.approx(seconds * 1e3, rel=0.05)
    assert recorder.count >= 10


def test_calls_that_are_long_enough_are_timed_one_by_one(monkeypatch: pytest.MonkeyPatch):
    machine = Machine(GROUP_SECONDS, reading=0.0)
    recorder = measured(monkeypatch, machine, Turns(iterations=7, warmup=2, seconds=0.0))
    assert (machine.calls, recorder.count) == (9, 7)


@pytest.mark.parametrize("turns", [Turns(7, warmup=2, seconds=0.0), Turns(9, warmup=0, seconds=0.0)])
def test_who_counts_calls_gets_as_many(monkeypatch: pytest.MonkeyPatch, turns: Turns):
    """Of short ones as well: they may use something up."""
    machine = Machine(1e-7, reading=0.0)
    measured(monkeypatch, machine, turns)
    assert machine.calls == 9


def test_a_clock_that_stands_still_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RuntimeError, match="the clock stands still"):
        measured(monkeypatch, Machine(0.0, reading=0.0), Turns())
