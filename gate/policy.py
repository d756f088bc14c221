"""The policy: what thresholds.yaml says, in types, and which entry holds for which metric."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from gate.globs import glob, is_exact, literal, path_glob
from gate.located import LocatedError, Mistake, Place
from gate.model import Metric
from gate.nodeids import bare, function_of
from gate.units import Quantity, UnitError, dimension, fitting
from pytest_regression_gate.metrics import Better, split_name

FILE_NAME: Final = "thresholds.yaml"
DEFAULT_TOLERANCE: Final = Quantity(10, "%")
DEFAULT_BASELINE: Final = "tests/baseline"
DEFAULT_TIMEOUT: Final = Quantity(30, "min")
DEFAULT_MAX_AGE: Final = Quantity(24, "h")

_PROTECTED: Final = (
    *(".github/*", "action.yml", ".gitattributes", "**/*.pth"),
    *("**/conftest.py", "**/sitecustomize.py", "**/usercustomize.py"),
    *("**/pytest.ini", "**/.pytest.ini", "**/pytest.toml", "**/.pytest.toml", "**/tox.ini", "**/setup.cfg"),
)
"""Files that decide how a pull request is judged, beside its rules and its baseline: what runs the gate, and
what could forge a report."""

_NEVER_NEGATIVE: Final = frozenset({"time", "size", "ratio", "rate"})
"""Dimensions of which no value is below 0."""

_COSTS: Final = frozenset({"time", "size"})

LIMITS: Final = ("target", "warning", "critical")

Confirm = Literal["budget", "suspects", "all", "off"]
"""What is measured again: all while the budget lasts; suspects alone; all, however long; nothing."""

DEFAULT_BUDGET: Final = Quantity(3, "min")

OFF: Final = Quantity(float("inf"), "")
"""A tolerance that nothing exceeds: the metric has limits only."""

FLOORS: Final[dict[str, Quantity]] = {
    "time": Quantity(0.2, "µs"),
    "size": Quantity(1, "MB"),
    "ratio": Quantity(1, "%"),
}
"""Dimension -> the smallest absolute change worth a word, unless an entry says `floor`."""


SUITE_NAME: Final = r"(?!(?:verdict|waivers|confirmation)$|.*\.[0-9]+-of-[0-9]+$)[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Its reports are files of this name, beside some of the gate; `api.1-of-2` is a share of another suite."""


SERVICE_NAME: Final = r"[A-Za-z][A-Za-z0-9_.-]*"
VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"


def is_suite(name: str) -> bool:
    """Whether a suite may be called so."""
    return re.fullmatch(SUITE_NAME, name) is not None


DEFAULT_READY_TIMEOUT: Final = Quantity(60, "s")
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class Service:
    """A process that suites need beside them; `$GATE_PORT` and the like stand in its texts."""

    name: str
    run: str = ""
    """The command, for the shell; empty: it is shared, and runs already."""
    ready: str = "port"
    """When it can be used: `port`, a URL that answers, or a part of a line that it prints."""
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = ""
    """The directory it runs in, relative to that of the policy."""
    prepare: str = ""
    """What is run before it starts: migrations, a database."""
    cleanup: str = ""
    """What is run when it has ended, however the gate ends."""
    timeout: Quantity = DEFAULT_READY_TIMEOUT
    """How long `prepare` may take, and how long it may take to get ready."""
    after: tuple["Service", ...] = ()
    """Those that have to be ready before."""
    shared: bool = False
    """It belongs to neither side: somebody else has started it."""
    host: str = LOOPBACK
    port: int = 0
    """0: a free one each time."""

    @property
    def and_earlier(self) -> Iterator["Service"]:
        """It, behind those that it comes after."""
        for service in self.after:
            yield from service.and_earlier
        yield self


@dataclass(frozen=True)
class Suite:
    """One suite and how to run it."""

    name: str
    run: str
    durations: bool = False
    """Take the call durations that pytest reports anyway as metrics."""
    timeout: Quantity = DEFAULT_TIMEOUT
    libraries: str = ""
    """Libraries whose versions are part of the environment, separated by spaces; of the whole policy."""
    watch: str = ""
    """Environment variables that a run tells of, separated by spaces; of the whole policy."""
    shards: int = 0
    """How many reports make it whole; 0: as the reports say, which without a number is one."""
    exclusive: bool = False
    """Two of it cannot run at once."""
    prepare: str = ""
    """Makes what git ignores; run in the trees that the gate checks out."""
    needs: tuple[Service, ...] = ()
    """Services that run beside it."""


class Specificity(NamedTuple):
    """How precisely an entry names a metric; of two, the first field in which they differ decides."""

    of_the_file: bool
    """It is none of the built-in ones."""
    exact: bool
    """Its name, without labels, has no wildcard."""
    literal: int
    """Characters of the name that are no wildcard."""
    exact_labels: int
    """Labels without a wildcard."""
    literal_labels: int
    """Characters of labels that are no wildcard."""
    labels: int


@dataclass(frozen=True)
class Entry:
    """One entry of `metrics`: a pattern and what holds for the metrics it matches."""

    pattern: str
    place: Place
    values: Mapping[str, Any]
    """Only what the entry says: better, target, warning, critical, tolerance, floor."""
    places: Mapping[str, Place] = field(default_factory=dict[str, Place])
    """Where it says so."""

    @cached_property
    def _parts(self) -> tuple[re.Pattern[str], dict[str, re.Pattern[str]]]:
        base, labels = split_pattern(self.pattern)
        return glob(base), {key: glob(value) for key, value in labels.items()}

    @cached_property
    def specificity(self) -> Specificity:
        """Order of precedence."""
        base, labels = split_pattern(self.pattern)
        return Specificity(
            of_the_file=self.place.line > 0,
            exact=is_exact(base),
            literal=literal(base),
            exact_labels=sum(map(is_exact, labels.values())),
            literal_labels=sum(map(literal, labels.values())),
            labels=len(labels),
        )

    @property
    def meaning(self) -> object:
        """Equal for two entries that match the same metrics, however they are written."""
        base, labels = self._parts
        return base.pattern, frozenset((key, value.pattern) for key, value in labels.items())

    def matches(self, name: str) -> bool:
        """Whether the entry is about a metric. Labels the pattern does not name may be anything."""
        pattern, wanted = self._parts
        base, labels = split_name(name)
        return pattern.fullmatch(base) is not None and all(
            key in labels and value.fullmatch(labels[key]) for key, value in wanted.items()
        )


@dataclass(frozen=True)
class KnownFailure:
    """One entry of `known_failures`: tests that may fail for a while, and whose they are."""

    pattern: str
    place: Place
    until: date
    """The last day on which it holds."""
    signature: str = ""
    """Glob of the failure's signature; empty: any failure of the test."""
    owner: str = ""
    issue: str = ""
    since: date | None = None
    paths: str = ""
    """Globs of the owner's files, separated by spaces, relative to the directory of thresholds.yaml."""

    @cached_property
    def _glob(self) -> re.Pattern[str]:
        return glob(self.pattern)

    @property
    def specificity(self) -> tuple[bool, int]:
        """Order of precedence: an exact name, then more literal characters."""
        return is_exact(self.pattern), literal(self.pattern)

    def covers(self, nodeid: str) -> bool:
        """Whether the entry is about a test; a name without parameters is about all of them.

        Of a test in two suites a name without the suite is about both.
        """
        names = {name for one in (nodeid, bare(nodeid)) for name in (one, function_of(one))}
        return any(map(self._glob.fullmatch, names))

    def permits(self, signature: str) -> bool:
        """Whether a failure is the one that is known."""
        return not self.signature or glob(self.signature).fullmatch(signature) is not None

    def concerns(self, touched: Iterable[str]) -> bool:
        """Whether one of some changed files is its owner's."""
        globs = [path_glob(path) for path in self.paths.split()]
        return any(path.fullmatch(name) for path in globs for name in touched)

    @property
    def described(self) -> str:
        """Until when, and who knows more: `until 2026-12-24 (@payments, issue 12)`."""
        whose = ", ".join(filter(None, (self.owner, self.issue, f"since {self.since}" if self.since else "")))
        return f"until {self.until}" + (f" ({whose})" if whose else "")


@dataclass(frozen=True)
class Rule:
    """What holds for one metric, and which entry of the policy says so, field by field."""

    better: Better
    tolerance: Quantity
    floor: Quantity
    target: Quantity | None = None
    warning: Quantity | None = None
    critical: Quantity | None = None
    sources: Mapping[str, str] = field(default_factory=dict[str, str])

    def cite(self, name: str) -> str:
        """Name the rule behind a field: `metrics[bot.*.p50].tolerance = 10 %`."""
        return f"{self.sources[name]}.{name} = {getattr(self, name)}"


@dataclass(frozen=True)
class Policy:
    """The whole of thresholds.yaml."""

    suites: Mapping[str, Suite] = field(default_factory=dict[str, Suite])
    entries: tuple[Entry, ...] = ()
    known_failures: tuple[KnownFailure, ...] = ()
    tolerance: Quantity = DEFAULT_TOLERANCE
    confirm: Confirm = "budget"
    budget: Quantity = DEFAULT_BUDGET
    """Time for the comparison of base and head."""
    flaky: Literal["warn", "fail"] = "warn"
    """What a test means that fails only sometimes."""
    inconclusive: Literal["fail", "warn"] = "fail"
    """What a suspect means that the comparison left open."""
    install: str = ""
    """Installs the dependencies; used for the base where its lock file is another one."""
    shared: str = ""
    """Addresses of services that no change reaches, separated by spaces."""
    comment: Literal["problems", "always"] = "problems"
    """When a first comment is written on a pull request; one that is there is always kept up to date."""
    self_waivers: bool = True
    """Whether the author of a pull request may waive its regressions."""
    protected: str = ""
    """Globs of further files that decide how a pull request is judged, separated by spaces."""
    baseline: str = DEFAULT_BASELINE
    baseline_branch: str = ""
    """The branch that holds it; empty: it lies beside the code."""
    max_age: Quantity = DEFAULT_MAX_AGE
    source: str = FILE_NAME
    """Where it was read from, for the verdict: `thresholds.yaml@<commit>`."""

    def protects(self, name: str, rules: str) -> bool:
        """Whether a file of the repository decides how a pull request is judged.

        Args:
            name: its path.
            rules: the path of thresholds.yaml.
        """
        beside = rules.rpartition("/")[0]
        baseline = f"{beside}/{self.baseline}" if beside else self.baseline
        return (
            name == rules
            or name.startswith(f"{baseline}/")
            or any(path_glob(pattern).fullmatch(name) for pattern in (*_PROTECTED, *self.protected.split()))
        )

    @property
    def shared_addresses(self) -> list[str]:
        """Where services are that belong to neither side."""
        needed = (
            service for suite in self.suites.values() for one in suite.needs for service in one.and_earlier
        )
        own = (f"{service.host}:{service.port}" for service in needed if service.shared)
        return list(dict.fromkeys((*self.shared.split(), *own)))

    def services_of(self, command: str) -> tuple[Service, ...]:
        """What the suite with a command needs beside it."""
        return next((suite.needs for suite in self.suites.values() if suite.run == command), ())

    def known_failure(self, nodeid: str) -> KnownFailure | None:
        """The most specific entry about a test; of two that are as specific the later one."""
        found = [entry for entry in self.known_failures if entry.covers(nodeid)]
        return max(reversed(found), key=lambda entry: entry.specificity, default=None)

    def rule(self, metric: Metric) -> Rule:
        """Find what holds for a metric: per field the most specific entry that says something.

        Raises:
            LocatedError: an entry's unit does not fit the metric's.
        """
        found: dict[str, Any] = {
            "better": metric.better,
            "tolerance": Quantity(0, "") if metric.exact else self.tolerance,
            "floor": Quantity(0, "")
            if metric.exact
            else FLOORS.get(dimension(metric.unit) or "", Quantity(0, "")),
        }
        sources = dict.fromkeys(found, "built-in") | {
            "tolerance": "work count" if metric.exact else "defaults"
        }
        ranked = sorted(
            (e for e in (*BUILT_IN, *self.entries) if e.matches(metric.name)), key=lambda e: e.specificity
        )
        saying: dict[str, Entry] = {}
        for entry in ranked:
            if metric.exact and entry in BUILT_IN:
                continue
            for key, value in entry.values.items():
                if key not in {"better", "tolerance"}:
                    self._check_unit(entry, key, value, metric)
                found[key], saying[key] = value, entry
                sources[key] = "built-in" if entry in BUILT_IN else f"metrics[{entry.pattern}]"
        self._check_direction(metric, found["better"], saying)
        self._check_reach(metric, found, saying)
        if beyond := beyond_warning(found, found["better"]):
            other = f"metrics[{saying[beyond].pattern}].{beyond} = {found[beyond]}"
            raise self._wrong(
                saying["warning"],
                "warning",
                f"{found['warning']} for {metric.name} lies beyond {other} "
                f"(line {saying[beyond].place.line}), "
                "which fails first; set one before it",
            )
        return Rule(**found, sources=sources)

    def _check_reach(self, metric: Metric, found: Mapping[str, Any], saying: Mapping[str, Entry]) -> None:
        """Refuse a limit that the worst value of all keeps.

        Raises:
            LocatedError: it does.
        """
        kind, higher = dimension(metric.unit), found["better"] == "higher"
        for key in LIMITS:
            limit = found.get(key)
            if limit is None:
                continue
            kept = (
                limit.value <= 0 and (kind in _NEVER_NEGATIVE or metric.exact)
                if higher
                else kind == "ratio" and limit.to("ratio") >= 1
            )
            if kept:
                worst = "0" if higher else "100 %"
                wrong = f"{metric.name} keeps it even at {worst}, so it could never fail"
                raise self._wrong(saying[key], key, wrong)

    def _check_direction(self, metric: Metric, better: Better, saying: Mapping[str, Entry]) -> None:
        """Refuse a direction against what the suite says, and a limit on a rate of which nobody says it.

        Raises:
            LocatedError: so it is.
        """
        if "better" in saying:
            turned = (
                better == "higher" and metric.better == "lower" and not saying["better"].specificity.exact
            )
            cost = (
                metric.exact or metric.statistic == "error_rate" or dimension(metric.unit) in {"time", "size"}
            )
            if turned and cost:
                wrong = f"matches {metric.name} too, of which less is better; name the metrics that are meant"
                raise self._wrong(saying["better"], "better", wrong)
            if metric.better == "higher" and better == "lower":
                wrong = (
                    f"the suite records {metric.name} with better='higher'; remove it, or change the suite"
                )
                raise self._wrong(saying["better"], "better", wrong)
            return
        limit = next((key for key in LIMITS if key in saying), "")
        if limit and dimension(metric.unit) == "rate" and metric.better == "lower":
            wrong = f"{metric.name} is a rate without a direction; add better: higher, or better: lower"
            raise self._wrong(saying[limit], limit, wrong)

    def _check_unit(self, entry: Entry, key: str, value: Quantity, metric: Metric) -> None:
        """Refuse a limit that its author means in another unit, and one that no value can pass.

        Raises:
            LocatedError: its unit does not fit the metric's, or it is above all that a ratio can be.
        """
        wrong = ""
        try:
            value.to(metric.unit)
            if dimension(metric.unit) == "ratio" and value.to("ratio") > 1:
                wrong = (
                    f"{value} is above 100 %, which {metric.name} never is, so it could never fail; "
                    "record a ratio that can be with another unit, e.g. unit='x'"
                )
        except UnitError:
            how = "does not fit:" if value.unit else "has no unit:"
            of = "a ratio" if metric.unit == "ratio" else f"measured in {metric.unit}"
            wrong = f"{value} {how} {metric.name} is {of}{_meant(value, metric.unit)}"
        if wrong:
            raise self._wrong(entry, key, wrong)

    def _wrong(self, entry: Entry, key: str, wrong: str) -> LocatedError:
        place = entry.places.get(key, entry.place)
        return LocatedError(self.source, [Mistake(place, f"metrics[{entry.pattern}].{key}: {wrong}")])


def beyond_warning(values: Mapping[str, Any], better: Better) -> str:
    """The limit that fails before `warning` is given, which then never is; empty: none.

    Raises:
        UnitError: one of them is in a unit of another dimension.
    """
    warning, sign = values.get("warning"), -1 if better == "higher" else 1
    for name in ("critical", "target"):
        failing = values.get(name)
        if warning and failing and sign * (warning.to(failing.unit) - failing.value) > 0:
            return name
    return ""


def _meant(value: Quantity, unit: str) -> str:
    """What may be meant by a bare number, as the end of a sentence; empty if nothing fits."""
    if value.unit:
        return ""
    if dimension(unit) == "ratio":
        share = f"{100 * value.value:g} % or " if abs(value.value) <= 1 else ""
        return f"; write {share}{value.value:g} %"
    fits = ", ".join(f"{value.value:g} {name}" for name in fitting(unit))
    return f"; write one of {fits}" if fits else ""


def _built_in(pattern: str, tolerance: Quantity) -> Entry:
    return Entry(pattern, Place(0, 0), {"tolerance": tolerance})


BUILT_IN: Final = (
    # Averages, spreads and the p99 follow every outlier, growth is a difference near zero: limits only.
    _built_in("*.mean", OFF),
    _built_in("*.std", OFF),
    _built_in("*.growth", OFF),
    _built_in("*.p99", OFF),
    # A wide tripwire; the judge also asks for enough requests.
    _built_in("*.p95", Quantity(30, "%")),
)
"""Tolerances by statistic, weaker than any entry of the file."""


PATTERN: Final = (
    r"(?![^{]*\{(?:.*,)?\s*([A-Za-z_]\w*)=.*,\s*\1=)"  # no label twice
    r"[A-Za-z_*][\w*-]*(?:\.[\w*-]+)*"
    r"(?:\{(?:\s*[A-Za-z_]\w*=[^={},\s](?:[^={},]*[^={},\s])?\s*(?:,(?!\})|(?=\})))*\})?"
)
"""What `split_pattern` reads, for JSON Schema."""

_STAR: Final = "_\N{LATIN LETTER LATERAL CLICK}_"
"""Stands for a wildcard while a pattern is checked as a name."""


def split_pattern(pattern: str) -> tuple[str, dict[str, str]]:
    """Take a pattern such as `load.*.p95{users=*}` apart.

    Raises:
        ValueError: it is no pattern of metric names.
    """
    try:
        base, labels = split_name(pattern.replace("*", _STAR))
    except ValueError:
        base, labels = "", {}
    if not base or any(_STAR in key for key in labels):
        raise ValueError(f"{pattern!r} is no metric name or glob; write e.g. load.api.p95{{users=100}}")
    return base.replace(_STAR, "*"), {key: value.replace(_STAR, "*") for key, value in labels.items()}
