"""The nouns of the gate. No I/O and no rules: what was measured, not what to think of it."""

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec

Better = Literal["lower", "higher"]
Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed"]

MAX_SAMPLES: Final = 2000
"""How many raw values of one measurement travel in a report; beyond it every k-th is kept."""

MOST_SHARDS: Final = 1000
"""In how many shards a suite may run."""

MIXED: Final = "mixed"
"""The CPU of a suite whose shards ran on different machines."""

STATISTICS: Final = ("mean", "p50", "p95", "p99", "std")
"""What the reader derives from a sample, in this order."""

TAILS: Final = frozenset({"p95", "p99"})
"""High percentiles: they move much more from run to run, and from round to round, than everything else."""

_NAME: Final = re.compile(r"(?P<base>[A-Za-z_][\w-]*(?:\.[\w-]+)*)(?:\{(?P<labels>[^{}]*)\})?")
_LABEL: Final = re.compile(r"(?P<key>[A-Za-z_]\w*)=(?P<value>[^={},\s](?:[^={},]*[^={},\s])?)")


_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_NotNegative = Annotated[float, msgspec.Meta(ge=0)]
_Whole = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]


class LoadRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a load was driven, and what the machine did meanwhile. None: unknown, nothing is judged by it."""

    requests: _Positive
    """Measured requests, without the warm-up."""
    errors: _Whole
    """Failed requests, those of the warm-up included."""
    users: _Positive | None = None
    seconds: _NotNegative | None = None
    """From the first measured request to the last answer."""
    warm_up: _Whole | None = None
    """Requests that were sent before and are in no figure but `errors`."""
    remote: bool = False
    """The service ran in another process than the generator of the load."""
    generator: _NotNegative | None = None
    """`remote`: CPU time of the generator's process over the time, 1 is one core; else the share of the
    time that went into the driver's own code."""
    lag: _NotNegative | None = None
    """`remote` only: how late the generator's event loop was, 99th percentile, in ms."""
    steal: _Share | None = None
    """Share of all cores that the hypervisor gave to other machines."""
    waited: _Share | None = None
    """Share of the time in which the generator's thread could run and got no core."""
    others: _Share | None = None
    """Share of all cores busy for processes that the run did not start (one may be a `remote` service)."""
    attempts: _Positive = 1
    """How often it was driven, since the machine disturbed it: the first valid attempt counts."""

    def __post_init__(self) -> None:
        if self.errors > self.requests + (self.warm_up or 0):
            raise ValueError(f"{self.errors} errors are more than the {self.requests} requests")

    @property
    def error_rate(self) -> float:
        """Errors per request, 0 to 1, warm-up included."""
        return self.errors / (self.requests + (self.warm_up or 0))


class Measurement(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `tests[].metadata.gate.metrics` in a report: what a suite recorded.

    Either `value` or `samples` is set. A sample belongs to a subject (`api.home`) and becomes the
    metrics `api.home.mean`, `.p50`, `.p95`, `.p99`, `.std`; a value is a metric already.
    """

    name: str
    unit: str
    better: Better = "lower"
    labels: dict[str, str] = {}
    value: float | None = None
    samples: list[float] | None = None
    count: int | None = None
    """How many raw measurements were made; None: as many as there are samples, or one."""
    sampling: Literal["all", "systematic"] = "all"
    """`systematic`: every k-th of `count` values was kept."""
    exact: bool = False
    """A work count: the same code gives the same number, on every machine."""
    load: LoadRun | None = None
    """Beside the latencies of a load: how it was driven."""


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

    @property
    def statistic(self) -> str:
        """The last part of the name without labels: `p95`, `calls`, `hit_rate`."""
        return statistic_of(self.name)

    @property
    def subject(self) -> str:
        """The name without its statistic, labels kept: `load.api{users=100}`."""
        return subject_of(self.name)


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
        """Whether it passed only after it had failed in the same run."""
        return self.attempts != 1 and not self.failed and not self.silent


class Environment(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run's numbers depend on. Runs compare only within one environment, or the nearest one."""

    cpu: str
    cores: int
    os: str
    python: str
    memory: str = ""
    """Class of the memory: the next power of two, `16g`; empty: unknown."""
    libraries: dict[str, str] = {}
    """Versions of those that the policy names, `{"numpy": "2.1"}`."""

    def differences(self, other: "Environment") -> tuple[str, ...]:
        """In what two environments differ, in words. What one of them does not say is no difference."""
        pairs = [
            (name, getattr(self, name), getattr(other, name)) for name in ("cpu", "cores", "os", "python")
        ]
        pairs += [("memory", self.memory, other.memory)] if self.memory and other.memory else []
        both = sorted(self.libraries.keys() & other.libraries.keys())
        pairs += [(name, self.libraries[name], other.libraries[name]) for name in both]
        return tuple(
            f"{name} {here}, not {there}" for name, here, there in pairs if _slug(here) != _slug(there)
        )

    def resembles(self, other: "Environment") -> bool:
        """Whether times of one say something about the other: the same known machine and Python."""
        return self.cpu != UNKNOWN_CPU and (_slug(self.cpu), self.cores, self.python) == (
            _slug(other.cpu),
            other.cores,
            other.python,
        )

    @property
    def id(self) -> str:
        """A readable name that is safe as a file name, e.g. `amd-epyc-2c-debian-12-py3.11-16g`."""
        libraries = (f"{name} {version}" for name, version in sorted(self.libraries.items()))
        parts = (self.cpu, f"{self.cores}c", self.os, f"py{self.python}", self.memory, *libraries)
        if not all(map(str.isascii, parts)):  # letters that a file name loses must still tell machines apart
            parts = (*parts, f"{zlib.crc32('|'.join(parts).encode()):08x}")
        return "-".join(slug for part in parts if (slug := _slug(part)))

    @property
    def mixed(self) -> bool:
        """Whether several machines are behind it: times measured there have no history and make none."""
        return self.cpu == MIXED


def _slug(value: object) -> str:
    """A text as it stands in the name of an environment."""
    return re.sub(r"[^a-z0-9.]+", "-", str(value).lower()).strip("-.")


UNKNOWN_CPU: Final = "unknown"
UNKNOWN_ENVIRONMENT: Final = Environment(cpu=UNKNOWN_CPU, cores=0, os="unknown", python="0")
"""For reports whose producer did not say where it ran; they are taken to come from one machine."""


class Shard(msgspec.Struct, frozen=True):
    """Which share of a suite a report holds: the `number`th, from 1, `of` all."""

    number: Annotated[int, msgspec.Meta(ge=1)]
    of: Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARDS)]

    def __post_init__(self) -> None:
        if self.number > self.of:
            raise ValueError(f"shard {self.number} of {self.of} cannot be")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


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
    machines: tuple[Environment, ...] = ()
    """Where its shards were measured, if that was on different machines."""


class Problem(msgspec.Struct, frozen=True):
    """Something that kept a report, or a part of it, from being read: never a pass."""

    subject: str
    """The file, or the file and the place in it."""
    message: str
    remedy: str


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


def split_name(name: str) -> tuple[str, dict[str, str]]:
    """Take `subject{label=value,...}` apart into the name and its labels.

    Raises:
        ValueError: the text is no metric name; the message says what a name looks like.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no metric name; write e.g. api.home or load.api{{users=100}}")
    labels: dict[str, str] = {}
    for part in (match["labels"] or "").split(",") if match["labels"] else ():
        label = _LABEL.fullmatch(part.strip())
        if label is None or label["key"] in labels:
            raise ValueError(
                f"{name!r} has a label that is not key=value, or twice the same key: {part.strip()!r}"
            )
        labels[label["key"]] = label["value"]
    return match["base"], labels


def join_name(base: str, labels: Mapping[str, str]) -> str:
    """The inverse of `split_name`, labels in alphabetical order so that a name is unique."""
    if not labels:
        return base
    return f"{base}{{{','.join(f'{key}={labels[key]}' for key in sorted(labels))}}}"


def duration_name(nodeid: str) -> str:
    """The metric that holds how long a test took; what a label cannot hold becomes an underscore."""
    return join_name("test.duration", {"test": re.sub(r"[{}=,\s]+", "_", nodeid)})


def statistic_of(name: str) -> str:
    """The statistic of a metric name: its last part, without labels."""
    return name.partition("{")[0].rpartition(".")[2]


def subject_of(name: str) -> str:
    """A metric name without its statistic, labels kept: `load.api{users=100}`."""
    base, labels = split_name(name)
    return join_name(base.rpartition(".")[0] or base, labels)


def systematic(values: Sequence[float], limit: int = MAX_SAMPLES) -> list[float]:
    """Keep at most `limit` values, evenly spaced over the sequence; all of them if they fit."""
    if len(values) <= limit:
        return list(values)
    step = len(values) / limit
    return [values[int(index * step)] for index in range(limit)]


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile of values in ascending order, 0 <= q <= 1.

    Linear interpolation between order statistics: definition 7 of Hyndman & Fan (1996), "Sample
    Quantiles in Statistical Packages", The American Statistician 50(4).
    """
    position = (len(ordered) - 1) * q
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summarise(values: Sequence[float]) -> dict[str, float]:
    """The `STATISTICS` of a sample with at least one value, in the sample's unit.

    `std` is the sample standard deviation (n - 1), 0 for a single value.
    """
    ordered = sorted(values)
    mean = math.fsum(ordered) / len(ordered)
    variance = math.fsum((value - mean) ** 2 for value in ordered) / max(1, len(ordered) - 1)
    return {
        "mean": mean,
        "p50": quantile(ordered, 0.50),
        "p95": quantile(ordered, 0.95),
        "p99": quantile(ordered, 0.99),
        "std": math.sqrt(variance),
    }
