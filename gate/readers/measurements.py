"""What tests recorded -> metrics. A value that no measurement can have costs that value, and is named."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from gate.model import InvalidValue, Metric, duration_metric
from pytest_regression_gate.metrics import (
    METHOD,
    LoadRun,
    Measurement,
    checked,
    duration_name,
    join_name,
    split_name,
    summarise,
)

_SLACK: Final = 1.0
"""Seconds that a test may take longer than its suite: the two are read at different moments."""


class Recorded:
    """What the tests of one suite recorded so far.

    Attributes:
        metrics: by name.
        loads: how loads were driven, by subject.
        invalid: what was left out, and why.
    """

    def __init__(self, suite: str, seconds: float) -> None:
        """Begin without any.

        Args:
            suite: its name.
            seconds: how long the whole suite took; 0: unknown.
        """
        self.metrics: dict[str, Metric] = {}
        self.loads: dict[str, LoadRun] = {}
        self.invalid: list[InvalidValue] = []
        self._suite = suite
        self._seconds = seconds
        self._twice: set[str] = set()

    def add(self, nodeid: str, entries: Sequence[Any]) -> None:
        """Take what a test recorded, each entry by itself."""
        for index, entry in enumerate(entries):
            name = _name_in(entry) or f"metrics[{index}]"
            try:
                measurement = msgspec.convert(entry, Measurement)
                name = join_name(measurement.name, measurement.labels)
                metrics = list(self._read(nodeid, measurement))
            except ValueError as error:  # msgspec.ValidationError is one
                self.refuse(nodeid, name, str(error))
                continue
            if name in self._twice or any(metric.name in self.metrics for metric in metrics):
                self._collide(nodeid, name, metrics)
                continue
            self.metrics |= {metric.name: metric for metric in metrics}
            if measurement.load is not None:
                self.loads[name] = measurement.load

    def add_duration(self, nodeid: str, seconds: float) -> None:
        """Take how long a test took."""
        name = duration_name(nodeid)
        if problem := impossible(seconds, self._seconds):
            remedy = "restore the real clock before the test ends, or set tolerance: off for this metric"
            self.invalid.append(InvalidValue(name, nodeid, problem, remedy, recorded=False))
        elif seconds:
            self.metrics[name] = duration_metric(name, self._suite, nodeid, seconds)

    def refuse(self, nodeid: str, name: str, problem: str, remedy: str = "") -> None:
        """Leave out what a test recorded under a name."""
        remedy = remedy or f"fix the value that {nodeid} records"
        self.invalid.append(InvalidValue(name, nodeid, problem, remedy))

    def _collide(self, nodeid: str, name: str, metrics: Sequence[Metric]) -> None:
        """Two tests recorded one name: nobody knows which of the two is meant."""
        others = {self.metrics.pop(m.name).nodeid for m in metrics if m.name in self.metrics}
        self.loads.pop(name, None)
        if name not in self._twice:
            problem = f"{min(others)} and {nodeid} recorded this metric"
            if others == {nodeid}:
                problem = "recorded twice"
            self.refuse(nodeid, name, problem, "add a label that tells the two apart")
        self._twice.add(name)

    def _read(self, nodeid: str, measurement: Measurement) -> Iterator[Metric]:
        split_name(join_name(measurement.name, measurement.labels))
        if measurement.method > METHOD:
            raise ValueError(
                f"measured by a newer version of the gate (method {measurement.method}); update this gate"
            )
        numbers = checked(measurement)
        # A single value has no statistic of its own: its name ends with it.
        values = {"": numbers[0]} if measurement.value is not None else summarise(numbers)
        for statistic, value in values.items():
            base = f"{measurement.name}.{statistic}" if statistic else measurement.name
            yield Metric(
                name=join_name(base, measurement.labels),
                unit=measurement.unit,
                better=measurement.better,
                value=value,
                count=measurement.count or len(measurement.samples or (0,)),
                exact=measurement.exact,
                suite=self._suite,
                nodeid=nodeid,
                method=measurement.method,
            )


def impossible(seconds: float, whole: float) -> str:
    """Why a test cannot have taken so long; empty: it can.

    Args:
        seconds: what the report says of the test.
        whole: how long its suite took; 0: unknown.
    """
    if not math.isfinite(seconds) or seconds < 0:
        return f"{seconds:g} s is not a duration; the test probably changed the clock"
    if whole and seconds > whole + _SLACK:
        return f"{seconds:.4g} s is longer than the suite took; the test probably changed the clock"
    return ""


def _name_in(entry: object) -> str:
    """The name of what cannot be read, as far as it says one."""
    name = entry.get("name") if isinstance(entry, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return name[:200] if isinstance(name, str) else ""
