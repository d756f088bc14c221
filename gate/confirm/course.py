"""Two processes run the same tests; where they stop at different ones, which goes on alone? Pure.

A test or an operation that only one side has must cost nothing but its own comparison. Which tests a side
runs, and in which order, it says before the first; which operations a test has is seen in the first launch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Stop(NamedTuple):
    """Where a side waits for the other one."""

    test: str
    """Nodeid."""
    operation: str = ""
    """Metric name without statistic; empty: before a test that is measured as a whole."""


@dataclass
class Course:
    """One side's way through a launch, and what earlier launches have shown of it."""

    places: dict[str, int] = field(default_factory=dict[str, int])
    """Nodeid -> place in the order of this launch."""
    passed: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Test -> operations that it stopped at in this launch."""
    known: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """The same of all launches before."""

    def begin(self) -> None:
        """A new launch."""
        for test, operations in self.passed.items():
            self.known.setdefault(test, set()).update(operations)
        self.places, self.passed = {}, {}

    def announce(self, tests: Iterable[str]) -> None:
        """Tests that will run, in order."""
        for test in tests:
            self.places.setdefault(test, len(self.places))

    def arrive(self, stop: Stop) -> None:
        """The side stops."""
        self.passed.setdefault(stop.test, set()).add(stop.operation)


def alone(base: Course, head: Course, here: Stop | None, there: Stop | None) -> tuple[bool, bool]:
    """Which sides go on without the other, given where base and head stop; None: that side is over.

    Returns:
        Base, head: neither where they stop at the same place, or where one is over and the other has nothing
        left that the next launch should know.
    """
    if here == there:
        return False, False
    if here is None or there is None:
        # The rest of a test that both have: what it stops at will be known.
        return bool(here and here.test in head.passed), bool(there and there.test in base.passed)
    if here.test == there.test:
        return _within(base, head, here, there)
    if here.test not in head.places:
        return True, False
    first = head.places[here.test] < head.places.get(there.test, -1)
    return first, not first


def _within(base: Course, head: Course, here: Stop, there: Stop) -> tuple[bool, bool]:
    """The same for two operations of one test. In the first launch nothing is known: both, to its end."""
    here_only = here.operation not in head.known.get(here.test, ())
    there_only = there.operation not in base.known.get(here.test, ())
    return here_only or not there_only, there_only
