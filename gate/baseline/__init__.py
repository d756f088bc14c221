"""The baseline: what is expected at a commit, as accepted runs say. Pure.

How accepted runs are kept is in `records`, where they stand in git's history in `ancestry`; `expected` makes
a baseline of both, and `files` reads and writes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final

import msgspec

from gate.model import Metric, Outcome
from gate.units import Bounded
from pytest_regression_gate.metrics import Better, Environment, subject_of

WINDOW: Final = 30
"""How many accepted runs of an environment times are compared with."""
ENOUGH_RUNS: Final = 5
"""Accepted runs from which on history can call an undecided suspect one."""
FIRST_RUNS: Final = 5
"""From so many runs on, the centre of the first ones is the reference, unless somebody pinned another."""


EVERYTHING: Final = "*"
"""The subject of a permission about all that a run says."""


class Permission(msgspec.Struct, frozen=True, omit_defaults=True):
    """That something may be worse: what, by whom and why."""

    subject: str
    """A metric, with or without its statistic, or a test."""
    by: str
    why: str
    until: str = ""
    """The last day, ISO 8601; empty: as long as the record is the nearest."""
    alone: bool = False
    """It is about this environment, which never had what is gone."""
    given: str = ""
    """The commit of the record that it was given with, if it goes on from there; empty: this one."""

    def __str__(self) -> str:
        return f"{self.subject}: {self.by}: {self.why}"

    @property
    def described(self) -> str:
        """The same with its end."""
        return f"{self} (until {self.until})" if self.until else str(self)


class KnownMetric(msgspec.Struct, frozen=True):
    """A metric as the nearest accepted run has it."""

    name: str
    unit: str
    better: Better
    nodeid: str
    exact: bool = False
    method: int = 1
    few: bool = False
    """It was a percentile of too few measurements to be compared."""

    def as_metric(self, suite: str, value: float) -> Metric:
        """The metric of a run that it was taken from, with one of its values."""
        return Metric(
            self.name, self.unit, self.better, value, 1, self.exact, suite, self.nodeid, self.method
        )


class KnownTest(msgspec.Struct, frozen=True):
    """A test as the nearest accepted run has it in which it ran, and, if it failed, how."""

    nodeid: str
    outcome: Outcome
    signature: str = ""
    permitted: Permission | None = None
    """Who accepted that it fails; None: nobody."""
    passes: tuple[str, ...] = ()
    """When it passed without a failure in between, in any environment, oldest first; ISO 8601, UTC."""

    @property
    def failed(self) -> bool:
        """Whether it failed then."""
        return self.outcome in {"failed", "error"}

    @property
    def passed(self) -> bool:
        """Whether it ran to its end without a failure."""
        return self.outcome in {"passed", "xpassed"}


class AcceptedRun(msgspec.Struct, frozen=True):
    """The values of one accepted run."""

    commit: str
    created: str
    """ISO 8601, UTC, when the report was written."""
    values: Mapping[str, float]
    source: str = ""
    """Which run of a workflow measured it."""
    waived: tuple[Permission, ...] = ()
    """What got worse and was permitted."""
    improved: tuple[str, ...] = ()
    """Metrics that a verdict called better."""
    uses: Mapping[str, str] = {}
    """What it ran with beside the code, as `SuiteRun.uses`."""
    place: str = ""
    """The commit that it stands for in the history that was asked about."""

    def permitted(self, name: str) -> list[str]:
        """What of `waived` is about a metric."""
        return [str(one) for one in self.waived if one.subject in {name, subject_of(name), EVERYTHING}]

    def began(self, name: str) -> bool:
        """Whether a new level of a metric was accepted with this run."""
        return name in self.improved or bool(self.permitted(name))


class Pin(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="pin"):
    """The reference that slow creep is measured from. It stays when its runs have left the window."""

    commit: str
    created: str
    """When the youngest run that it rests on was measured."""
    runs: int
    """How many runs it rests on."""
    values: Mapping[str, Bounded] = {}
    """Their median, by metric, in the units that hold now."""
    groups: dict[str, dict[str, Bounded]] = {}
    """The same as it is kept, by kind."""
    reason: str = ""
    """Why it was pinned; empty: nobody did, these were the first accepted runs."""
    pinned: str = ""
    """When somebody did; ISO 8601, UTC."""


class SuiteBaseline(msgspec.Struct, frozen=True):
    """What is expected of one suite: in one environment, or in all of them."""

    suite: str
    environment: Environment
    metrics: Mapping[str, KnownMetric] = {}
    tests: Mapping[str, KnownTest] = {}
    runs: tuple[AcceptedRun, ...] = ()
    """The nearest last."""
    pins: tuple[Pin, ...] = ()
    """The references, each of other metrics."""
    places: Mapping[str, str] = {}
    """Over all environments: the commit as of which a metric or test is known."""
    exact: Mapping[str, float] = {}
    """Over all environments: the value of each work count."""
    ran: Mapping[str, frozenset[str]] = {}
    """Over all environments: tests that ever ran in one of them, by its id."""
    skips: Mapping[str, frozenset[str]] = {}
    """Over all environments: tests that one of them skips, by its id."""
    lacks: Mapping[str, frozenset[str]] = {}
    """Over all environments: tests that one of them does not have, by its id."""
    outdated: frozenset[str] = frozenset()
    """Metrics that are measured in another way now: no value of theirs is compared."""

    def accepted_by(self, names: Iterable[str]) -> str:
        """The nearest commit by which all of some metrics and tests were accepted; empty: there is none.

        What was held back, or did not run, may be in the code of any younger commit: that is no witness.
        """
        order = {run.place: index for index, run in enumerate(self.runs)}
        known = [self.places[name] for name in names if name in self.places]
        return min(known, key=lambda place: order.get(place, -1), default="")

    def reference(self, name: str) -> Pin | None:
        """The pin that holds a metric's reference level."""
        return next((pin for pin in self.pins if name in pin.values and name not in self.outdated), None)

    def history(self, name: str) -> list[float]:
        """The values to compare a metric with, oldest first; runs without it are left out."""
        return [] if name in self.outdated else self.accepted_values(name)

    def accepted_values(self, name: str) -> list[float]:
        """The values of a metric in whatever way it was measured, oldest first."""
        return [run.values[name] for run in self.runs if name in run.values]

    def accepted_steps(self, name: str) -> list[int]:
        """Which values of `history` began a level that somebody accepted."""
        holding = [run for run in self.runs if name in run.values]
        return [index for index, run in enumerate(holding) if run.began(name)]


class Baseline(msgspec.Struct, frozen=True):
    """All that is expected at a commit."""

    suites: tuple[SuiteBaseline, ...] = ()
    """In each environment."""
    overall: tuple[SuiteBaseline, ...] = ()
    """In all of them: tests and work counts hold everywhere."""
    unplaced: frozenset[str] = frozenset()
    """Suites of which none of the accepted runs belongs to the history that was asked about."""

    def measured_on(self, suite: str, environment: Environment) -> SuiteBaseline | None:
        """The accepted runs of a suite that were measured where this run was."""
        return next(
            (b for b in self.suites if b.suite == suite and not environment.differences(b.environment)), None
        )

    def exactly_on(self, suite: str, environment: Environment) -> SuiteBaseline | None:
        """The accepted runs of a suite in an environment that is written in the same way."""
        return next((b for b in self.suites if b.suite == suite and b.environment == environment), None)

    def comparable(self, suite: str, environment: Environment) -> SuiteBaseline | None:
        """The accepted runs of a suite to compare times with: of this environment, or of the nearest one.

        Near is the same CPU model, number of cores and Python: OS image, memory and libraries move times less
        than a tolerance. Of several the one with the fewest differences, then with the most runs. Mixed
        machines have none.
        """
        if environment.mixed:
            return None
        if (own := self.measured_on(suite, environment)) and own.runs:
            return own
        near = [
            b for b in self.suites if b.suite == suite and b.runs and environment.resembles(b.environment)
        ]
        return min(
            near,
            key=lambda b: (len(environment.differences(b.environment)), -len(b.runs), b.environment.id),
            default=None,
        )

    def latest(self, suite: str) -> SuiteBaseline | None:
        """What is expected of a suite in all environments; None: no run of it was accepted."""
        return next((known for known in self.overall if known.suite == suite), None)

    def with_outdated(self, suite: str, names: Iterable[str]) -> "Baseline":
        """The same where some metrics of a suite are measured in another way now."""
        return msgspec.structs.replace(
            self,
            suites=tuple(
                msgspec.structs.replace(known, outdated=frozenset(names)) if known.suite == suite else known
                for known in self.suites
            ),
        )

    def passes(self, suite: str, nodeid: str) -> tuple[str, ...]:
        """When a test passed without a failure in between, in any environment, oldest first."""
        known = self.latest(suite)
        test = known.tests.get(nodeid) if known else None
        return test.passes if test else ()


def level_of(runs: Sequence[AcceptedRun], names: Iterable[str], reason: str) -> Pin:
    """The centre of some runs as a reference."""
    return Pin(
        commit=runs[-1].commit,
        created=runs[-1].created,
        runs=len(runs),
        values={name: median(run.values[name] for run in runs if name in run.values) for name in names},
        reason=reason,
    )
