"""The nouns of the gate. No I/O and no rules: what was measured, not what to think of it."""

from typing import Annotated, Final, Literal

import msgspec

from pytest_regression_gate.metrics import Better, Environment, LoadRun, statistic_of, subject_of

Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed"]

MOST_SHARDS: Final = 1000
"""In how many shards a suite may run."""

TAILS: Final = frozenset({"p95", "p99"})
"""High percentiles: they move much more from run to run, and from round to round, than everything else."""


def needed_for(statistic: str) -> int:
    """How many measurements a percentile needs before it says something: 20 / (1 - p); others need one.

    Twenty values beyond the percentile: 40 requests for p50, 400 for p95, 2,000 for p99.
    """
    quantile = {"p50": 0.50, "p95": 0.95, "p99": 0.99}.get(statistic)
    return 1 if quantile is None else round(20 / (1 - quantile))


class Metric(msgspec.Struct, frozen=True):
    """A named quantity of one run, e.g. `bot.seller.workflow.p95{profile=delayed}`."""

    name: str
    unit: str
    better: Better
    value: float
    count: int
    """Raw measurements behind the value."""
    exact: bool
    suite: str
    nodeid: str
    """The test that measured it."""
    method: int = 1
    """Version of how it was measured: values of different ones are not compared."""

    @property
    def statistic(self) -> str:
        """The last part of the name without labels: `p95`, `calls`, `hit_rate`."""
        return statistic_of(self.name)

    @property
    def subject(self) -> str:
        """The name without its statistic, labels kept: `load.api{users=100}`."""
        return subject_of(self.name)

    @property
    def few(self) -> bool:
        """Whether it is a high percentile of too few measurements to be compared."""
        return self.statistic in TAILS and self.count < needed_for(self.statistic)


def duration_metric(name: str, suite: str, nodeid: str, seconds: float) -> Metric:
    """How long a test took, as a metric."""
    return Metric(
        name=name, unit="s", better="lower", value=seconds, count=1, exact=False, suite=suite, nodeid=nodeid
    )


class Failure(msgspec.Struct, frozen=True):
    """How a test failed, and the part of it that stays the same from run to run."""

    signature: str
    """Exception type, file of the top frame of ours, normalised message."""
    message: str
    """First line of the message as it was."""
    where: str
    """`path:line` of the top frame of ours, or an empty text."""


class TestOutcome(msgspec.Struct, frozen=True):
    """What became of one test."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    nodeid: str
    suite: str
    outcome: Outcome
    duration: float
    """Seconds of the call phase."""
    failure: Failure | None = None
    reason: str = ""
    """Why it was skipped or expected to fail; of a flaky test, how an earlier attempt failed."""
    attempts: int | None = 1
    """How often it was run within this run. None: more than once, and the report does not say how often."""
    untimed: bool = False
    """It is a benchmark of another plugin, which timed nothing."""

    @property
    def failed(self) -> bool:
        """Whether this outcome alone would make a suite red."""
        return self.outcome in {"failed", "error"}

    @property
    def silent(self) -> bool:
        """Whether the test says nothing about the code: skipped, or expected to fail and failing."""
        return self.outcome in {"skipped", "xfailed"}

    @property
    def flaky(self) -> bool:
        """Whether it failed in the same run before it passed, or was skipped."""
        return self.attempts != 1 and not self.failed and self.outcome != "xfailed"


LAST_SECOND: Final = 253_402_300_799.0
"""Of the year 9999."""


class Shard(msgspec.Struct, frozen=True):
    """Which share of a suite a report holds: the `number`th, from 1, `of` all."""

    number: Annotated[int, msgspec.Meta(ge=1)]
    of: Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARDS)]

    def __post_init__(self) -> None:
        if self.number > self.of:
            raise ValueError(f"shard {self.number} of {self.of} cannot be")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class InvalidValue(msgspec.Struct, frozen=True):
    """A value in a report that no measurement can have. It is in no metric."""

    subject: str
    """The metric, or its subject."""
    nodeid: str
    """The test that left it."""
    message: str
    """Why it is not valid."""
    remedy: str
    recorded: bool = True
    """Somebody recorded it; else it is a duration that pytest wrote by itself."""


class SuiteRun(msgspec.Struct, frozen=True):
    """One suite's part of a run."""

    name: str
    environment: Environment
    commit: str
    """Empty if the report does not say."""
    created: float
    """Seconds since the epoch."""
    tests: dict[str, TestOutcome]
    metrics: dict[str, Metric]
    source: str = ""
    """The file it was read from."""
    loads: dict[str, LoadRun] = {}
    """How loads were driven, by subject (`load.api{users=100}`), as far as the report says."""
    executed: dict[str, frozenset[str]] = {}
    """Subject -> functions of the project that it runs (`path:qualified name`), where the report says."""
    shard: Shard | None = None
    """Which share of the suite it is; None: all of it, or the report does not say."""
    seconds: float = 0.0
    """How long it took, fixtures included; 0: the report does not say."""
    uses: dict[str, str] = {}
    """What it ran with beside the code, where the report says: versions of the interpreter and of imported
    distributions, by name; hashes of variables, by `$NAME`."""
    machines: tuple[Environment, ...] = ()
    """Where its shards were measured, if that was on different machines."""
    uncommitted: tuple[str, ...] = ()
    """Tracked files that differed from the commit, from the top of the repository; `?`: nobody says which."""
    invalid: tuple[InvalidValue, ...] = ()
    """Values that were left out."""


class Problem(msgspec.Struct, frozen=True):
    """Something that kept a report, or a part of it, from being read: never a pass."""

    subject: str
    """The file, or the file and the place in it."""
    message: str
    remedy: str


def one_line(said: object) -> str:
    """What is said of a file, in one line: a decoder repeats what stands there, line ends too."""
    return " ".join(str(said).splitlines())


class Run(msgspec.Struct, frozen=True):
    """One execution of the suites on one machine at one commit, as far as it could be read."""

    suites: dict[str, SuiteRun]
    problems: tuple[Problem, ...] = ()

    @property
    def seconds(self) -> dict[str, float]:
        """How long each suite took, where its report says."""
        return {name: suite.seconds for name, suite in self.suites.items() if suite.seconds}

    @property
    def commit(self) -> str:
        """The commit that was measured, empty if no report says."""
        return next(
            (self.suites[name].commit for name in sorted(self.suites) if self.suites[name].commit), ""
        )

    @property
    def metrics(self) -> dict[str, Metric]:
        """All metrics by name."""
        return {name: metric for suite in self.suites.values() for name, metric in suite.metrics.items()}
