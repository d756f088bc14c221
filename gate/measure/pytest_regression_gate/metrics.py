"""What a suite records, and how it is named: the nouns that a report of it holds. No I/O and no rules."""

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal
from urllib.parse import quote

import msgspec

Better = Literal["lower", "higher"]
MAX_SAMPLES: Final = 2000
"""How many raw values of one measurement travel in a report; beyond it every k-th is kept."""

METHOD: Final = 2
"""Version of how times are measured; figures of different versions are not compared.

1: a load's latency began with the request, and each call was timed alone.
2: a load's latency begins when the user wants the answer, and calls under 10 µs are timed in groups.
"""

LARGEST: Final = 1e30
"""No number is farther from zero, so that no calculation with it leaves the range of a float."""

_TIMES: Final = frozenset({"s", "ms", "us", "µs", "ns"})

MIXED: Final = "mixed"
"""The CPU of a suite whose shards ran on different machines."""

STATISTICS: Final = ("mean", "p50", "p95", "p99", "std")
"""What the reader derives from a sample, in this order."""

_NOT_IN_A_LABEL: Final = re.compile(r"[{}=,%\s]")
_NAME: Final = re.compile(r"(?P<base>[A-Za-z_][\w-]*(?:\.[\w-]+)*)(?:\{(?P<labels>[^{}]*)\})?")
_LABEL: Final = re.compile(r"(?P<key>[A-Za-z_]\w*)=(?P<value>[^={},\s](?:[^={},]*[^={},\s])?)")


_ID: Final = re.compile(r"(?:(.+)-)?(\d+)c-(?:(.+?)-)?py([a-z0-9.]+)(?:-.*)?")
"""The name of an environment: CPU (which may hold `-8370c-`), cores, OS, Python, and more."""

_LONGEST_ID: Final = 240
"""Characters; a hash may follow, and no file name has more than 255."""

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
    error: str = ""
    """The first exception of a request, as text; empty: none was raised."""

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
    method: _Positive = 1
    """Version of how it was measured."""
    load: LoadRun | None = None
    """Beside the latencies of a load: how it was driven."""


def checked(measurement: Measurement) -> list[float]:
    """The numbers of a measurement; what is too small to be told from nothing is 0.

    Raises:
        ValueError: no measurement can have them; the message says why.
    """
    if (measurement.value is None) == (measurement.samples is None):
        raise ValueError("needs exactly one of 'value' and 'samples'")
    numbers = [measurement.value] if measurement.value is not None else measurement.samples or []
    if not numbers:
        raise ValueError("'samples' is empty")
    never_negative = measurement.samples is not None or measurement.exact or measurement.unit in _TIMES
    for number in numbers:
        if not math.isfinite(number):
            raise ValueError(f"{number} is not a finite number")
        if abs(number) > LARGEST:
            raise ValueError(f"{number:g} is out of range (limit: {LARGEST:.0e})")
        if number < 0 and never_negative:
            raise ValueError(f"{number:g} {measurement.unit} is negative")
    if (measurement.count or len(numbers)) < len(numbers):
        raise ValueError(f"'count' is {measurement.count}, but there are {len(numbers)} samples")
    if measurement.load is not None:
        if measurement.samples is None:
            raise ValueError("'load' belongs to latencies, not to a single value")
        if measurement.load.requests != (measurement.count or len(numbers)):
            raise ValueError(
                f"'load' has {measurement.load.requests} requests, 'count' is {measurement.count}"
            )
    return [number if abs(number) >= 1 / LARGEST else 0.0 for number in numbers]


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
        name = "-".join(slug for part in parts if (slug := _slug(part)))
        read = _ID.fullmatch(name) if len(name) <= _LONGEST_ID else None
        known = read and read.groups("") == tuple(map(_slug, (self.cpu, self.cores, self.os, self.python)))
        if not known or not all(map(str.isascii, parts)):
            # What a file name loses, or could be read in two ways, must still tell machines apart.
            return f"{name[:_LONGEST_ID]}-{zlib.crc32('|'.join(parts).encode(errors='surrogatepass')):08x}"
        return name

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
    """The metric that holds how long a test took."""
    return join_name("test.duration", label_of_test(nodeid))


def label_of_test(nodeid: str) -> dict[str, str]:
    """The label of a metric that is about one test; what no label can hold is written as in a URL: `%2C`."""
    return {"test": _NOT_IN_A_LABEL.sub(lambda found: quote(found[0]), nodeid)}


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
